//! The admin endpoint: `/metrics`, `/livez`, `/readyz` and `/state`.
//!
//! ```text
//! accept.rs    the connections of the endpoint, bounded in number
//! server.rs    the paths and their answers
//! metrics.rs   `/metrics`, in the text format of OpenMetrics
//! state.rs     `/state`, the JSON document that `interceptor status` reads
//! ```

pub mod accept;
#[cfg(test)]
mod fixture;
pub mod metrics;
pub mod server;
pub mod state;
