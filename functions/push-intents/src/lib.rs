//! The function push-intents.
