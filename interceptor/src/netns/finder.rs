//! Finds a pod's network namespace: the one that has the pod's address.
//!
//! Runtimes mount each pod's namespace in a folder of their choice: containerd
//! `/run/netns/cni-<uuid>`, CRI-O `/run/netns/<uuid>`, cri-dockerd `/run/docker/netns/<hash>`. The
//! names do not identify the pod. The address does. So the finder needs no runtime's socket, and
//! searches the namespaces of processes only if the admin allows it.

use std::{
    collections::HashMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::ifaddrs::getifaddrs;
use parking_lot::Mutex;

use super::{HomeNetns, Netns, NetnsError, NetnsId, addresses::ip_of};

/// The folders in which runtimes mount the namespaces of pods, unless the admin names others.
pub const DEFAULT_FOLDERS: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// Minimum time between two sweeps of all namespaces. Pods that are missing at one time share a
/// sweep.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);

/// Finds pods' namespaces, and remembers the addresses of those that it has read.
#[derive(Debug)]
pub struct Finder {
    folders: Vec<PathBuf>,
    /// Whether to search the namespaces of processes, too: some runtimes mount none. Needs the
    /// node's process ids.
    processes: bool,
    home: &'static HomeNetns,
    seen: Mutex<Seen>,
}

/// The namespaces that were read so far.
#[derive(Debug, Default)]
struct Seen {
    namespaces: HashMap<PathBuf, Known>,
    /// Time of the last sweep of all namespaces.
    swept: Option<Instant>,
}

/// A namespace, as last read.
#[derive(Debug)]
struct Known {
    id: NetnsId,
    addresses: Vec<IpAddr>,
    /// Time of the reading.
    at: Instant,
}

/// Which namespaces to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// Those that are not settled: see [`Known::is_settled`].
    Unknown,
    All,
}

// === impl Known ===

impl Known {
    /// Whether another reading would give nothing new: it was read a moment ago, or it had an
    /// address that is not link-local. A runtime adds the latter after the mount.
    fn is_settled(&self) -> bool {
        let is_assigned = |ip: &IpAddr| match ip {
            IpAddr::V4(_) => true,
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        };
        self.addresses.iter().any(is_assigned) || self.at.elapsed() < SWEEP_PAUSE
    }
}

// === impl Finder ===

impl Finder {
    /// A finder that searches `folders`, and then `/proc` if `processes`.
    #[must_use]
    pub fn new(folders: Vec<PathBuf>, processes: bool, home: &'static HomeNetns) -> Self {
        Self { folders, processes, home, seen: Mutex::default() }
    }

    /// The namespace that has all of `ips`.
    ///
    /// # Errors
    /// When no namespace has them (yet), when several have them, or when one can't be read.
    pub fn find(&self, ips: &[IpAddr]) -> Result<Netns, NetnsError> {
        let mut seen = self.seen.lock();
        let mounted = self.mounted();
        // A cached namespace may be a leftover of an earlier pod with this address, so newly
        // mounted ones are examined, too.
        let mut failure = self.look(&mut seen, &mounted, Which::Unknown);
        let mut found = self.with(&seen, ips);
        if found.is_empty() {
            // Many pods may be missing at one time: a sweep a moment ago answers for all of them.
            if seen.swept.is_none_or(|swept| swept.elapsed() >= SWEEP_PAUSE) {
                failure = self.look(&mut seen, &mounted, Which::All);
                found = self.with(&seen, ips);
                if found.is_empty() && self.processes {
                    failure = failure.or(self.look(&mut seen, &by_process()?, Which::All));
                    found = self.with(&seen, ips);
                }
                seen.swept = Some(Instant::now());
            }
        }
        let different = found.iter().any(|netns| netns.id() != found[0].id());
        match found.pop() {
            Some(last) if different => {
                let others = found.iter().map(|netns| netns.path().to_owned());
                let paths = std::iter::once(last.path().to_owned()).chain(others).collect();
                Err(NetnsError::Ambiguous { ips: ips.to_vec(), paths })
            }
            Some(netns) => Ok(netns),
            // The namespace that can't be read may be the pod's.
            None => Err(failure.unwrap_or_else(|| NetnsError::NoneHasAddress {
                ips: ips.to_vec(),
                folders: self.folders.clone(),
                processes: self.processes,
            })),
        }
    }

    /// The namespaces that had the pod's addresses when read, if they still exist and still have
    /// them.
    fn with(&self, seen: &Seen, ips: &[IpAddr]) -> Vec<Netns> {
        let known = seen.namespaces.iter().filter(|(_, known)| has_all(&known.addresses, ips));
        let still = known.filter_map(|(path, known)| {
            let netns = Netns::open(path, self.home).ok().filter(|netns| netns.id() == known.id)?;
            has_all(&addresses(&netns).ok()?, ips).then_some(netns)
        });
        let mut still: Vec<_> = still.collect();
        // A mounted path stays as long as the namespace; a process may end before.
        still.sort_by_key(|netns| !netns.path().starts_with("/proc"));
        still
    }

    /// Reads the addresses of the namespaces at `paths`. Returns the last failure, if one can't be
    /// read.
    fn look(&self, seen: &mut Seen, paths: &[PathBuf], which: Which) -> Option<NetnsError> {
        let mut failure = None;
        seen.namespaces.retain(|path, _| path.exists());
        for path in paths {
            if which == Which::Unknown && seen.namespaces.get(path).is_some_and(Known::is_settled) {
                continue;
            }
            // Gone since the folder was listed, or not mounted yet, or the node's own.
            let Ok(netns) = Netns::open(path, self.home) else { continue };
            match addresses(&netns) {
                Ok(addresses) => {
                    seen.namespaces.insert(
                        path.clone(),
                        Known { id: netns.id(), addresses, at: Instant::now() },
                    );
                }
                Err(error) => failure = Some(error),
            }
        }
        failure
    }

    /// The paths in the folders.
    fn mounted(&self) -> Vec<PathBuf> {
        let entries = self.folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    }
}

/// One path to each namespace that has a process.
fn by_process() -> Result<Vec<PathBuf>, NetnsError> {
    let proc = Path::new("/proc");
    let entries =
        fs::read_dir(proc).map_err(|source| NetnsError::Open { path: proc.to_owned(), source })?;
    let mut pids: Vec<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The first process of a pod is usually its sandbox, which lives longest.
    pids.sort_unstable();
    let mut known = Vec::new();
    let paths = pids.into_iter().map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")));
    Ok(paths
        .filter(|path| {
            let Ok(id) = fs::read_link(path) else { return false };
            let new = !known.contains(&id);
            if new {
                known.push(id);
            }
            new
        })
        .collect())
}

/// The addresses of a namespace, without loopback.
fn addresses(netns: &Netns) -> Result<Vec<IpAddr>, NetnsError> {
    let open_error = |error: nix::Error| NetnsError::Open {
        path: netns.path().to_owned(),
        source: io::Error::from(error),
    };
    let interfaces = netns.enter(getifaddrs)?.map_err(open_error)?;
    let ips = interfaces.filter_map(|interface| ip_of(&interface));
    Ok(ips.filter(|ip| !ip.is_loopback()).collect())
}

fn has_all(addresses: &[IpAddr], ips: &[IpAddr]) -> bool {
    !ips.is_empty() && ips.iter().all(|ip| addresses.contains(ip))
}
