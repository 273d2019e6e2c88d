//! What admins and scripts see: `/metrics`, `/livez`, `/readyz`, `/state`.

pub mod accept;
pub mod metrics;
pub mod server;
pub mod state;
