//! Webhook endpoints: the endpoints of a tenant, their places in the logs, and what was delivered.

pub(crate) mod deliveries;
pub(crate) mod endpoint_item;
pub(crate) mod endpoints;
pub(crate) mod places;
