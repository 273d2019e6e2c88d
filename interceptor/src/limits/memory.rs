//! The maximum number of connections for which the daemon's memory suffices.
//!
//! A client can hold idle connections at hardly any cost. Without the daemon they fill the memory
//! of the app's own container. Through the daemon they would fill the node's memory, and the kernel
//! might then kill other processes first.

use std::{fs, path::Path};

/// Budget of one connection, in bytes. An idle one takes at most 24 KiB of the daemon's memory, and
/// the kernel's memory for two sockets. A busy one holds up to 256 KiB for a slow reader.
const PER_CONNECTION: u64 = 64 * 1024;

/// The memory that the daemon may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// The limit of the daemon's own control group, in bytes.
    Own(u64),
    /// The memory of the machine, in bytes.
    Machine(u64),
    /// Neither is readable.
    Unknown,
}

// === impl Memory ===

impl Memory {
    /// The memory that this process may use.
    #[must_use]
    pub(super) fn of_this_process() -> Self {
        let read = |path: &Path| fs::read_to_string(path).ok();
        let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
        let own = limit_files(&groups).iter().find_map(|file| limit(&read(Path::new(file))?));
        let machine = || total(&read(Path::new("/proc/meminfo"))?);
        match (own, machine()) {
            // A limit beyond the memory of the machine limits nothing.
            (Some(own), Some(machine)) if own < machine => Self::Own(own),
            (_, Some(machine)) => Self::Machine(machine),
            (Some(own), None) => Self::Own(own),
            (None, None) => Self::Unknown,
        }
    }

    /// Maximum connections: from half of the daemon's own limit, or an eighth of the machine's
    /// memory.
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

/// Files that may have the limit, from the contents of `/proc/self/cgroup`. In a container its own
/// group may be the root of the mount.
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

/// Parses the limit of a control group: a number, or `max` for no limit.
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
