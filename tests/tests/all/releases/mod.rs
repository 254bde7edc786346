//! What a deployment passes through: checks of new versions, and two builds at once.

mod deploy_check;
mod mixed_versions;
