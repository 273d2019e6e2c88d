//! Removes the namespaces of a run that was ended from outside.
//!
//! A handler for Ctrl-C would have to block signals, and every program started from here would inherit that. So
//! a second process of ours waits for the first to be gone, however it went.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

/// The other process; it ends when this is dropped, or when this process ends.
pub(crate) struct Watchdog {
    pipe: Option<ChildStdin>,
    child: Child,
}

impl Watchdog {
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["sweep-after", &std::process::id().to_string()]);
        // A group of its own: Ctrl-C in the terminal does not reach it.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let mut child = command.spawn().context("starting the watchdog")?;
        Ok(Self { pipe: child.stdin.take(), child })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // This run removed its own; the watchdog is not to wait for a process that lives on.
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(self.pipe.take());
    }
}

/// The watchdog's side: waits for the end of `pid`, whose pipe is our stdin, and removes what it left.
pub(crate) fn sweep_after(pid: u32) -> Result<()> {
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    let process = Path::new("/proc").join(pid.to_string());
    testbed::wait_until("the end of the run", Duration::from_secs(10), || !process.exists())?;
    testbed::sweep();
    Ok(())
}
