//! What one tenant may use.

mod tenant_limits;
