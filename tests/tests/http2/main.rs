//! HTTP/2 on a port whose rule looks at requests: each stream goes where it is wanted, and nobody notices more than that.

mod closing;
mod fixture;
mod flow_control;
mod garbage;
mod limits;
mod peers;
mod rare_frames;
mod raw;
mod routing;
mod server;
mod streams;

use std::{process::Command, time::Duration};

use anyhow::{Result, ensure};
use testbed::{Daemon, wait_until};

const TIMEOUT: Duration = Duration::from_secs(5);

const MIB: usize = 1 << 20;

/// What a program printed; it should succeed.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn no_panic(daemon: &Daemon) -> Result<()> {
    wait_until("the end of connections", TIMEOUT, || daemon.state().is_ok())?;
    let logs = daemon.logs();
    ensure!(!logs.contains("panicked"), "{logs}");
    Ok(())
}

/// As [`read_all`] makes it.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}
