//! Anybody can call a webhook.
