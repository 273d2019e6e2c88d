//! Failing open: clients are served whatever happens to the daemon or to the target. Each test is
//! one promise.

#![forbid(unsafe_code)]

mod daemon_ends;
mod daemon_hangs;
mod draining;
mod exhaustion;
mod second_daemon;
mod target;
mod target_closes;

use std::time::Duration;

use anyhow::{Result, ensure};
use interceptor_tests::{Fixture, TIMEOUT};
use testbed::{Load, Report, RunningLoad};

/// Maximum duration of a call that waits for nothing, on a machine that is busy with other tests.
const AT_ONCE: Duration = Duration::from_millis(300);

/// Starts four threads of calls, and waits until the target answers them.
fn start_load(f: &Fixture<'_>) -> Result<RunningLoad> {
    let load = Load::new(&f.client, f.port()).threads(4).start()?;
    load.wait_for_tag("laptop", TIMEOUT)?;
    Ok(load)
}

/// Fails if a call got no answer.
fn no_call_failed(report: &Report) -> Result<()> {
    ensure!(report.failures().is_empty(), "{report}");
    Ok(())
}
