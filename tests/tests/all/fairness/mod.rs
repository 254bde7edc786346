//! What one tenant may use, and what its neighbours notice of it.

mod neighbours;
mod tenant_limits;
