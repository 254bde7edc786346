//! Rate limits and outages of Drive.

mod outage;
mod throttling;
