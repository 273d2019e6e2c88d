//! How many connections the daemon's memory is enough for.
//!
//! Idle connections cost whoever holds them next to nothing. Without us they fill the memory of the application's own
//! container; through us they would fill the node's, whose kernel then ends everybody else first.

use std::{fs, path::Path};

/// What a connection takes in bytes: of ours at most 24 KiB while it is idle, and of the kernel's for two sockets; some are
/// busy, and hold up to 256 KiB for a reader who does not read.
const PER_CONNECTION: u64 = 64 * 1024;

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// The limit of the daemon's own control group, in bytes.
    Own(u64),
    /// That of the machine, in bytes.
    Machine(u64),
    /// The kernel does not say.
    Unknown,
}

// === impl Memory ===

impl Memory {
    /// What there is for this process.
    #[must_use]
    pub(super) fn of_this_process() -> Self {
        let read = |path: &Path| fs::read_to_string(path).ok();
        let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
        let own = limit_files(&groups).iter().find_map(|file| limit(&read(Path::new(file))?));
        let machine = || total(&read(Path::new("/proc/meminfo"))?);
        match (own, machine()) {
            // A limit that is beyond the machine is none.
            (Some(own), Some(machine)) if own < machine => Self::Own(own),
            (_, Some(machine)) => Self::Machine(machine),
            (Some(own), None) => Self::Own(own),
            (None, None) => Self::Unknown,
        }
    }

    /// Connections that half of what is the daemon's own is enough for, or an eighth of what is everybody's.
    #[must_use]
    pub(super) fn connections(self) -> usize {
        let share = match self {
            Self::Own(bytes) => bytes / 2,
            Self::Machine(bytes) => bytes / 8,
            Self::Unknown => u64::MAX,
        };
        usize::try_from(share / PER_CONNECTION).unwrap_or(usize::MAX)
    }
}

/// Files that may have the limit, by what `/proc/self/cgroup` says. In a container its own group may be the root of the mount.
fn limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let path = path.trim_end_matches('/');
        let (mount, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        files.extend([format!("{mount}{path}/{file}"), format!("{mount}/{file}")]);
    }
    files
}

/// A limit as a control group has it: a number, or `max`.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn nine_thousand_connections_fit_into_a_machine_of_eight_gibibytes() {
        assert!(Memory::Machine(8 * 1024 * MIB).connections() > 9_000);
        assert_eq!(Memory::Own(256 * MIB).connections(), 2048);
        assert_eq!(Memory::Unknown.connections(), usize::MAX / 65_536);
    }

    #[test]
    fn the_limit_is_that_of_the_processes_own_group_in_either_version() {
        let v2 = limit_files("0::/kubepods.slice/pod1.slice\n");
        assert_eq!(
            v2,
            ["/sys/fs/cgroup/kubepods.slice/pod1.slice/memory.max", "/sys/fs/cgroup/memory.max"]
        );
        let v1 = limit_files("9:cpu,cpuacct:/a\n8:memory:/kubepods/pod1\n0::/\n");
        assert_eq!(
            v1[..2],
            [
                "/sys/fs/cgroup/memory/kubepods/pod1/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
        assert_eq!((limit("max\n"), limit("268435456\n")), (None, Some(268_435_456)));
    }

    #[test]
    fn the_machines_memory_is_read_in_kibibytes() {
        let text = "MemTotal:       24576000 kB\nMemFree:        1 kB\n";
        assert_eq!(total(text), Some(24_576_000 * 1024));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert!(matches!(Memory::of_this_process(), Memory::Own(_) | Memory::Machine(_)));
    }
}
