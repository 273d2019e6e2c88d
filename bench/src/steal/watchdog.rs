//! Removes the namespaces of a run that was killed.
//!
//! A handler for Ctrl-C would have to block signals, and every program started from here would
//! inherit that. So a second process waits for the end of the first and then cleans up.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

/// The watchdog process. It ends when this is dropped, or when this process ends.
pub(crate) struct Watchdog {
    pipe: Option<ChildStdin>,
    child: Child,
}

impl Watchdog {
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["sweep-after", &std::process::id().to_string()]);
        // In a process group of its own, it does not get the terminal's Ctrl-C.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let mut child = command.spawn().context("starting the watchdog")?;
        Ok(Self { pipe: child.stdin.take(), child })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // The run has removed its own namespaces, so the watchdog has nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(self.pipe.take());
    }
}

/// Runs the watchdog: waits for the end of `pid` and removes its namespaces.
///
/// Our stdin is a pipe from that process, which closes when it ends.
pub(crate) fn sweep_after(pid: u32) -> Result<()> {
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    let process = Path::new("/proc").join(pid.to_string());
    testbed::wait_until("the end of the run", Duration::from_secs(10), || !process.exists())?;
    testbed::sweep();
    Ok(())
}
