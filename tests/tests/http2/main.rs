//! HTTP/2 on a port with a condition: each stream reaches the server that the condition selects,
//! and nothing else changes.

#![forbid(unsafe_code)]

mod byte_for_byte;
mod closing;
mod draining;
mod fixture;
mod flow_control;
mod held;
mod limits;
mod model;
mod peers;
mod proxy_header;
mod random_frames;
mod rare_frames;
mod raw;
mod routing;
mod scripted;
mod server;
mod silence;
mod streams;
mod targets;
mod upgrade;
mod without_app;

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{Daemon, wait_until};

/// Maximum time for anything that should happen at once.
const TIMEOUT: Duration = Duration::from_secs(5);

const MIB: usize = 1 << 20;

/// Fails if a task of the daemon has panicked.
fn check_no_panic(daemon: &Daemon) -> Result<()> {
    wait_until("the daemon's state", TIMEOUT, || daemon.state().is_ok())?;
    let logs = daemon.logs();
    ensure!(!logs.contains("panicked"), "{logs}");
    Ok(())
}
