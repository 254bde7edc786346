//! Drive's push notifications.

mod delivery;
mod forgery;
mod renewal;
mod stray_channels;
