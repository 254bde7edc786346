//! Read, then write: a collaborator's edit in between is overwritten.
