//! Reads CPU time, memory and wake-ups of a running process.

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The CPU time of a process in user space and in the kernel, in seconds.
///
/// It is utime + stime of `/proc/<pid>/stat`, but with the resolution of nanoseconds, not of clock
/// ticks. The kernel charges packet work in soft interrupts to the process that runs at that
/// moment. So this is the charged time, not the cost of the process's data path alone.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))
        .and_then(clock_gettime)
        .with_context(|| format!("CPU time of process {pid}"))?;
    Ok(Duration::from(clock).as_secs_f64())
}

/// The resident memory of a process, in bytes.
pub(crate) fn rss_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    Ok(status_field(&status, "VmRSS").with_context(|| format!("{path} has no VmRSS"))? * 1024)
}

/// The number of voluntary context switches of all threads, which is the number of their wake-ups.
pub(crate) fn wake_ups(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in
        fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("threads of {pid}"))?
    {
        match fs::read_to_string(task?.path().join("status")) {
            Ok(status) => {
                sum += status_field(&status, "voluntary_ctxt_switches").unwrap_or_default();
            }
            // A thread may end between the listing and the read.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("threads of {pid}")),
        }
    }
    Ok(sum)
}

fn status_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_field_is_found_by_its_whole_name() {
        let status = "Name:\tx\nVmRSS:\t    1234 kB\nvoluntary_ctxt_switches:\t7\n\
                      nonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(status_field(status, "VmRSS"), Some(1234));
        assert_eq!(status_field(status, "voluntary_ctxt_switches"), Some(7));
        assert_eq!(status_field(status, "Vm"), None);
    }

    #[test]
    fn the_figures_of_this_process_can_be_read() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).is_ok_and(|seconds| seconds > 0.0));
        assert!(rss_bytes(pid).is_ok_and(|bytes| bytes > 100_000));
        assert!(wake_ups(pid).is_ok());
    }
}
