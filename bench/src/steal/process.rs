//! What the kernel says about a running process: CPU time, memory, wake-ups.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

/// CPU seconds of a process, user and kernel together.
///
/// Packet work that the kernel does in a soft interrupt is charged to whoever runs at that moment, so this is
/// the cost of the process as an accountant sees it, not of its data path alone.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    let ticks = ticks_of(&stat).with_context(|| format!("{path} does not look like a stat file"))?;
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("clock ticks per second")?;
    Ok(ticks as f64 / per_second as f64)
}

/// utime + stime. The name in parentheses may itself hold spaces and parentheses.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Resident memory in bytes.
pub(crate) fn rss_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    Ok(status_field(&status, "VmRSS").with_context(|| format!("{path} has no VmRSS"))? * 1024)
}

/// CPU seconds of all threads of a process, finer than the clock ticks of [`cpu_seconds`]. Threads that ended are
/// not in it.
pub(crate) fn fine_cpu_seconds(pid: u32) -> Result<f64> {
    // The first number of schedstat is the time on a CPU in nanoseconds.
    let on_cpu = |schedstat: &str| schedstat.split_ascii_whitespace().next()?.parse().ok();
    Ok(sum_over_threads(pid, "schedstat", on_cpu)? as f64 / 1e9)
}

/// How often the threads of a process went to sleep of their own will, which is how often they were woken.
pub(crate) fn wake_ups(pid: u32) -> Result<u64> {
    sum_over_threads(pid, "status", |status| status_field(status, "voluntary_ctxt_switches"))
}

fn sum_over_threads(pid: u32, file: &str, number: impl Fn(&str) -> Option<u64>) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("threads of {pid}"))? {
        let path = task?.path().join(file);
        match fs::read_to_string(&path) {
            Ok(text) => sum += number(&text).with_context(|| format!("{} is unreadable", path.display()))?,
            // A thread may end between the listing and the read.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
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
    fn cpu_time_of_a_process_with_an_odd_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 17 25 0 0 20 0 3 0 100 1000 10";
        assert_eq!(ticks_of(stat), Some(42));
        assert_eq!(ticks_of("42 (short) S 1"), None);
    }

    #[test]
    fn status_fields_are_found_by_their_whole_name() {
        let status =
            "Name:\tx\nVmRSS:\t    1234 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(status_field(status, "VmRSS"), Some(1234));
        assert_eq!(status_field(status, "voluntary_ctxt_switches"), Some(7));
        assert_eq!(status_field(status, "Vm"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).is_ok());
        assert!(fine_cpu_seconds(pid).is_ok_and(|seconds| seconds > 0.0));
        assert!(rss_bytes(pid).is_ok_and(|bytes| bytes > 100_000));
        assert!(wake_ups(pid).is_ok());
    }
}
