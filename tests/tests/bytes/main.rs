//! The bytes of a connection pass the relay unchanged, and neither end notices the relay.
//!
//! Where the behaviour of TCP matters, each test runs over a direct and over a stolen connection,
//! and expects the same of both.

#![forbid(unsafe_code)]

mod closing;
mod ends;
mod fixture;
mod latency;
mod many_connections;
mod throughput;

use std::time::Duration;

use crate::fixture::Route;

const MIB: u64 = 1 << 20;

const SECOND: Duration = Duration::from_secs(1);

const ROUTES: [Route; 2] = [Route::Direct, Route::Stolen];
