//! What tenants use of the deployment, counted against its limits.

pub(crate) mod read_meter;
pub(crate) mod slots_item;
pub(crate) mod tenant_rates_item;
pub(crate) mod waits_item;
