//! What single operations do to a record.

mod deciding;
mod editing;
mod presence;
mod pushing;
