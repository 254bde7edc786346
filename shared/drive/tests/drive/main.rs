//! The client against a fake Drive: what it asks, what it makes of the answers, and how it gets in.

#[cfg(test)]
mod auth;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod normaliser;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod support;
#[cfg(test)]
mod timeouts;
