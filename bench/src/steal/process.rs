//! What the kernel says about a running process: CPU time, memory, wake-ups.

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// CPU seconds of a process, user and kernel together: utime + stime of `/proc/<pid>/stat`, but in nanoseconds
/// instead of clock ticks.
///
/// Packet work that the kernel does in a soft interrupt is charged to whoever runs at that moment, so this is
/// the cost of the process as an accountant sees it, not of its data path alone.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))
        .and_then(clock_gettime)
        .with_context(|| format!("CPU time of process {pid}"))?;
    Ok(Duration::from(clock).as_secs_f64())
}

/// Resident memory in bytes.
pub(crate) fn rss_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    Ok(status_field(&status, "VmRSS").with_context(|| format!("{path} has no VmRSS"))? * 1024)
}

/// How often the threads of a process went to sleep of their own will, which is how often they were woken.
pub(crate) fn wake_ups(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in
        fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("threads of {pid}"))?
    {
        match fs::read_to_string(task?.path().join("status")) {
            Ok(status) => {
                sum += status_field(&status, "voluntary_ctxt_switches").unwrap_or_default()
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
    fn status_fields_are_found_by_their_whole_name() {
        let status = "Name:\tx\nVmRSS:\t    1234 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(status_field(status, "VmRSS"), Some(1234));
        assert_eq!(status_field(status, "voluntary_ctxt_switches"), Some(7));
        assert_eq!(status_field(status, "Vm"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).is_ok_and(|seconds| seconds > 0.0));
        assert!(rss_bytes(pid).is_ok_and(|bytes| bytes > 100_000));
        assert!(wake_ups(pid).is_ok());
    }
}
