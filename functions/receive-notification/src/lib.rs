//! The function receive-notification.
