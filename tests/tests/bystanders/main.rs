//! Bystanders: clients whose connections pass through the daemon because a rule on their port has a
//! condition. They must notice nothing.

#![forbid(unsafe_code)]

mod busy;
mod large_bodies;
mod tls;
