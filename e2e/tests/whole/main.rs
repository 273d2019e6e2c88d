//! Tests that take longer or disturb the cluster itself: `cargo xtask e2e --all`.

#![forbid(unsafe_code)]

mod api_server;
mod exec_probes;
mod latency;
mod node;
mod own_users;
mod scale;
mod two_nodes;
mod two_releases;
mod uninstall;
mod upgrade;
