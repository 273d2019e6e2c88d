//! Restricts processes to CPUs.
//!
//! On a small virtual machine a wake-up across CPUs costs tens of microseconds at random. With all
//! processes pinned to one CPU, a latency shows only the work that each case adds.

use std::fs;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The CPUs that this process may use.
pub(crate) fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("asking for the allowed CPUs")?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect())
}

/// Pins the calling thread, and the threads that it starts later, to `cpus`.
pub(crate) fn pin_self(cpus: &[usize]) -> Result<()> {
    sched_setaffinity(Pid::from_raw(0), &set_of(cpus)?)
        .with_context(|| format!("pinning to CPU {cpus:?}"))
}

/// Pins every thread of a process to `cpus`.
pub(crate) fn pin_process(pid: u32, cpus: &[usize]) -> Result<()> {
    let set = set_of(cpus)?;
    for task in
        fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("threads of {pid}"))?
    {
        let Some(tid) = task?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match sched_setaffinity(Pid::from_raw(tid), &set) {
            // A thread may end between the listing and the call.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("pinning thread {tid} to {cpus:?}"));
            }
        }
    }
    Ok(())
}

fn set_of(cpus: &[usize]) -> Result<CpuSet> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu).with_context(|| format!("CPU {cpu} is out of range"))?;
    }
    Ok(set)
}
