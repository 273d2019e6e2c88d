//! Failing open: whatever becomes of us or of the target, callers are served. Each test is one promise.

mod daemon_ends;
mod daemon_hangs;
mod exhaustion;
mod second_daemon;
mod target;

use std::time::Duration;

use anyhow::{Result, ensure};
use interceptor_tests::{Fixture, TIMEOUT};
use testbed::{Load, Report, RunningLoad};

/// What a call may take that nobody lets wait, on a machine that is busy with other tests.
const AT_ONCE: Duration = Duration::from_millis(300);

/// Callers as the tests need them: several, all the time.
fn load(f: &Fixture<'_>) -> Result<RunningLoad> {
    let caller = Load::new(&f.client, f.port()).threads(4).start()?;
    caller.wait_for_tag("laptop", TIMEOUT)?;
    Ok(caller)
}

/// Nobody was let down.
fn no_call_failed(report: &Report) -> Result<()> {
    ensure!(report.failures().is_empty(), "{report}");
    Ok(())
}
