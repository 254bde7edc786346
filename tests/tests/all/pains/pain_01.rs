//! A notification comes late, or never.
