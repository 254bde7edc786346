//! Tests of the client against a scripted Drive, a simulated one and a hostile one.

#[cfg(test)]
mod auth;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod downloads;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod exports;
#[cfg(test)]
mod hostile_content;
#[cfg(test)]
mod normaliser;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod support;
#[cfg(test)]
mod timeouts;
#[cfg(test)]
mod uploads;
#[cfg(test)]
mod uploads_lost;
