//! What takes longer, or disturbs the cluster itself: `cargo xtask e2e --all`.

#[path = "whole/api_server.rs"]
mod api_server;
#[path = "whole/crowd.rs"]
mod crowd;
#[path = "whole/latency.rs"]
mod latency;
#[path = "whole/node.rs"]
mod node;
#[path = "whole/own_users.rs"]
mod own_users;
#[path = "whole/two_nodes.rs"]
mod two_nodes;
#[path = "whole/upgrade.rs"]
mod upgrade;
