//! No code: the manifest switches on the features of third-party crates that some package of the
//! workspace needs.
