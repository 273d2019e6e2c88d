//! What takes longer, or disturbs the cluster itself: `cargo xtask e2e --all`.

mod api_server;
mod latency;
mod node;
mod own_users;
mod scale;
mod two_nodes;
mod upgrade;
