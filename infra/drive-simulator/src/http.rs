//! The HTTP interface: the Drive API, the token endpoint and the control interface.

pub(crate) mod batch_endpoint;
pub(crate) mod call;
pub(crate) mod control;
pub(crate) mod endpoint;
pub(crate) mod media;
pub(crate) mod methods;
pub(crate) mod oauth_token;
pub(crate) mod params;
pub(crate) mod request_body;
pub(crate) mod response;
pub(crate) mod routes;
pub(crate) mod serve;
pub(crate) mod v2;
pub(crate) mod v3;

#[cfg(test)]
mod tests;
