//! Nobody can tell how to recover, and a bad listing looks like a mass deletion.
