//! Bystanders: clients whose connections pass through the daemon because a rule on their port has a
//! condition. They must notice nothing.

#![forbid(unsafe_code)]

mod busy;
mod large_bodies;
mod repeating;
mod tls;
mod upgrades;

use std::{env, time::Duration};

/// The duration of tests with requests all the time: 15 s, or that of
/// `INTERCEPTOR_BYSTANDER_SECONDS`.
fn duration() -> Duration {
    let seconds = env::var("INTERCEPTOR_BYSTANDER_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(15))
}
