//! Drive's wire forms and their one translation to the domain's.

pub(crate) mod body;
pub(crate) mod normalise;
pub(crate) mod patch;
pub(crate) mod table;
pub(crate) mod types;
pub(crate) mod wire;
