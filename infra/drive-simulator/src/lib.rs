//! A stateful Google Drive over HTTP.
