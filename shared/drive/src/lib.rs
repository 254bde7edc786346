//! The part of Google Drive that we use: client, wire types, auth, error classification.
