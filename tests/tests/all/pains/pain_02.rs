//! Notifications come twice, and in bursts.
