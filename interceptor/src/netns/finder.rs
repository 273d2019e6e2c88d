//! Which network namespace is a pod's: the one that has the pod's address.
//!
//! Runtimes mount each pod's namespace under a folder of their own making (containerd `/run/netns/cni-<uuid>`, CRI-O
//! `/run/netns/<uuid>`, cri-dockerd `/run/docker/netns/<hash>`), and the names tell nothing. The address does, and it is
//! what a rule is about. So no runtime's socket is asked, and no process is looked at unless the admin allows it.

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

/// Where runtimes mount the namespaces of pods, unless the admin says otherwise.
pub const DEFAULT_FOLDERS: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// All namespaces are looked into at most this often; a pod that is not there is not there for the others either.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);

/// Finds pods' namespaces, and remembers what it saw on the way.
#[derive(Debug)]
pub struct Finder {
    folders: Vec<PathBuf>,
    /// Also by the processes that live in them, for runtimes that mount nothing. Needs the node's process ids.
    processes: bool,
    home: &'static HomeNetns,
    seen: Mutex<Seen>,
}

/// What was seen on the way.
#[derive(Debug, Default)]
struct Seen {
    namespaces: HashMap<PathBuf, Known>,
    /// When all of them were last looked into.
    swept: Option<Instant>,
}

/// A namespace as it was when it was last looked into.
#[derive(Debug)]
struct Known {
    id: NetnsId,
    addresses: Vec<IpAddr>,
    /// When it was looked into.
    at: Instant,
}

/// Which namespaces to look into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// Those of which something new may be known.
    Unknown,
    All,
}

// === impl Known ===

impl Known {
    /// Whether it has nothing new to tell: it had an address that others know it by, which a runtime gives it after it has
    /// mounted it, or it was looked into a moment ago.
    fn is_settled(&self) -> bool {
        let is_known_by = |ip: &IpAddr| match ip {
            IpAddr::V4(_) => true,
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        };
        self.addresses.iter().any(is_known_by) || self.at.elapsed() < SWEEP_PAUSE
    }
}

// === impl Finder ===

impl Finder {
    /// Looks in `folders`, and then in `/proc` if `processes`.
    #[must_use]
    pub fn new(folders: Vec<PathBuf>, processes: bool, home: &'static HomeNetns) -> Self {
        Self { folders, processes, home, seen: Mutex::default() }
    }

    /// The namespace that has all of `ips`.
    ///
    /// # Errors
    /// When none has (yet), or more than one, or one can't be looked into.
    pub fn find(&self, ips: &[IpAddr]) -> Result<Netns, NetnsError> {
        let mut seen = self.seen.lock();
        let mounted = self.mounted();
        // One that was seen may have been left behind by a pod that had the address before: those that are new count, too.
        let mut failure = self.look(&mut seen, &mounted, Which::Unknown);
        let mut found = self.with(&seen, ips);
        if found.is_empty() {
            // Many pods may be looked for at a time; what was seen a moment ago is answer enough for all of them.
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
            // One that can't be looked into may be the one.
            None => Err(failure.unwrap_or_else(|| NetnsError::NoneHasAddress {
                ips: ips.to_vec(),
                folders: self.folders.clone(),
                processes: self.processes,
            })),
        }
    }

    /// Those that had the pod's addresses when they were looked into, if they are the same and still have them.
    fn with(&self, seen: &Seen, ips: &[IpAddr]) -> Vec<Netns> {
        let known = seen.namespaces.iter().filter(|(_, known)| has_all(&known.addresses, ips));
        let still = known.filter_map(|(path, known)| {
            let netns = Netns::open(path, self.home).ok().filter(|netns| netns.id() == known.id)?;
            has_all(&addresses(&netns).ok()?, ips).then_some(netns)
        });
        let mut still: Vec<_> = still.collect();
        // A mount is as old as its namespace; a process may end before.
        still.sort_by_key(|netns| !netns.path().starts_with("/proc"));
        still
    }

    /// Looks into the namespaces of `paths`. Gives why one can't be looked into.
    fn look(&self, seen: &mut Seen, paths: &[PathBuf], which: Which) -> Option<NetnsError> {
        let mut failure = None;
        seen.namespaces.retain(|path, _| path.exists());
        for path in paths {
            if which == Which::Unknown && seen.namespaces.get(path).is_some_and(Known::is_settled) {
                continue;
            }
            // Gone since the folder was listed, or not mounted on yet, or the node's own.
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

    /// What is mounted in the folders.
    fn mounted(&self) -> Vec<PathBuf> {
        let entries = self.folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    }
}

/// One path to each namespace that a process lives in.
fn by_process() -> Result<Vec<PathBuf>, NetnsError> {
    let proc = Path::new("/proc");
    let entries =
        fs::read_dir(proc).map_err(|source| NetnsError::Open { path: proc.to_owned(), source })?;
    let mut pids: Vec<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The first process of a pod is its sandbox, which lives longest.
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

/// The addresses of a namespace, without those that every namespace has.
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
