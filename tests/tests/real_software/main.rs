//! Programs that people run, on both ends of stolen connections. Nobody listens in the pod itself, unless a test says
//! so: what is answered there was answered through the relay.

mod databases;
mod http;
mod tools;

use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);
