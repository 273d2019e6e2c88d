//! The CPU time of this process.

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};

/// CPU time in user space and in the kernel, in seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) sys: f64,
}

impl Cpu {
    pub(crate) fn total(self) -> f64 {
        self.user + self.sys
    }
}

/// The CPU time of all threads of this process since its start.
pub(crate) fn of_self() -> Result<Cpu> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("getrusage")?;
    Ok(Cpu { user: seconds(usage.user_time()), sys: seconds(usage.system_time()) })
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}
