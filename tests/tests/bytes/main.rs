//! What the relay does to the bytes of a connection: nothing that either end could notice.
//!
//! Where TCP itself has a say, each test does the same thing twice, over a direct connection and over a stolen one,
//! and asks the same of both.

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
