//! Network namespaces: what identifies one, and the only way into one.
//!
//! A namespace is identified by the device and inode of its file, never by its path: the runtime
//! may reuse the path for a recreated sandbox, whose namespace has another inode. [`Netns::enter`]
//! is the only `setns` in the daemon. It takes a plain closure, so no `await` can happen inside,
//! and the thread is back in the daemon's namespace when it returns.

use std::{
    collections::BTreeSet,
    fmt,
    fs::File,
    io,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{FsType, fstatfs};
use socket2::Socket;

pub mod addresses;
pub mod finder;
mod listening;
pub mod sock_diag;
mod socket;

pub(crate) use self::addresses::ip_of;
pub use self::socket::tcp_socket;
use self::{addresses::Addresses, sock_diag::SockDiag};

/// `NSFS_MAGIC` of `linux/magic.h`: the file system that namespace files live in.
const NSFS_MAGIC: FsType = FsType(0x6e73_6673);

/// The identity of a namespace: device and inode of its nsfs file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetnsId {
    device: u64,
    inode: u64,
}

/// The daemon's own network namespace. Every thread starts here and returns here.
#[derive(Debug)]
pub struct HomeNetns {
    file: File,
    id: NetnsId,
    /// The namespace of process 1, if it is readable and is another one.
    init: Option<NetnsId>,
    addresses: Addresses,
}

/// The network namespace of a workload, held open. The kernel keeps it at least as long as this
/// value lives: drop it promptly.
#[derive(Debug)]
pub struct Netns {
    file: File,
    id: NetnsId,
    path: PathBuf,
    home: &'static HomeNetns,
}

/// Why a network namespace can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The path does not exist, at least not yet.
    #[error("{path}: no such network namespace", path = path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// The path exists, but no namespace is mounted on it, at least not yet.
    #[error("{path}: not a network namespace", path = path.display())]
    NotANetns {
        /// The path.
        path: PathBuf,
    },
    /// No visible namespace has the pod's addresses, at least not yet.
    #[error(
        "no network namespace in {} (the chart's value netns.hostPath) has the pod's address {}{}",
        listed(.folders),
        comma(.ips),
        processes_hint(*.processes)
    )]
    NoneHasAddress {
        /// The pod's addresses.
        ips: Vec<IpAddr>,
        /// The folders that were searched.
        folders: Vec<PathBuf>,
        /// Whether the namespaces of processes were searched, too.
        processes: bool,
    },
    /// More than one namespace has the pod's address, so none of them is known to be the pod's.
    #[error(
        "the pod's address {} is in more than one network namespace: {}",
        comma(.ips),
        listed(.paths)
    )]
    Ambiguous {
        /// The pod's addresses.
        ips: Vec<IpAddr>,
        /// The namespaces that have them.
        paths: Vec<PathBuf>,
    },
    /// The pod is being deleted.
    #[error("the pod is being deleted")]
    Terminating,
    /// The node's own namespace, which all traffic of the node passes.
    #[error(
        "{path} is the node's own network namespace (hostNetwork?); it is never touched",
        path = path.display()
    )]
    Host {
        /// The path that led to it.
        path: PathBuf,
    },
    /// The file can't be opened.
    #[error("open {path}: {source}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// `setns` failed.
    #[error(
        "enter network namespace {path}: {source}{hint}",
        path = path.display(),
        hint = if *source == nix::Error::EPERM { " (needs CAP_SYS_ADMIN)" } else { "" }
    )]
    Enter {
        /// The namespace.
        path: PathBuf,
        /// The kernel's error.
        source: nix::Error,
    },
}

// === impl NetnsId ===

impl NetnsId {
    fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self { device: meta.dev(), inode: meta.ino() })
    }

    /// Device and inode. They are the same for every process of the machine.
    #[must_use]
    pub fn device_and_inode(self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

impl fmt::Display for NetnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.inode)
    }
}

// === impl HomeNetns ===

impl HomeNetns {
    /// Records the namespace of this thread as the daemon's. Call it once, before any thread
    /// starts.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn capture() -> io::Result<&'static Self> {
        let file = File::open("/proc/thread-self/ns/net")?;
        let id = NetnsId::of(&file)?;
        // Not readable without CAP_SYS_PTRACE over process 1. Then only the daemon's own namespace
        // is recognised as the node's.
        let init = File::open("/proc/1/ns/net").and_then(|file| NetnsId::of(&file)).ok();
        let init = init.filter(|&init| init != id);
        Ok(Box::leak(Box::new(Self { file, id, init, addresses: Addresses::default() })))
    }

    /// The identity of this namespace.
    #[must_use]
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// Whether `ip` is one of this namespace's own addresses. If the kernel gives no answer, the
    /// answer is yes: callers then refuse the address.
    #[must_use]
    pub fn has_address(&self, ip: IpAddr) -> bool {
        self.addresses.contain(ip).unwrap_or(true)
    }
}

// === impl Netns ===

impl Netns {
    /// Opens the namespace that is mounted on `path`, or to which `path` leads in `/proc`.
    ///
    /// # Errors
    /// When `path` leads to no usable namespace, above all when it is the node's own: see
    /// [`NetnsError`].
    pub fn open(path: &Path, home: &'static HomeNetns) -> Result<Self, NetnsError> {
        let io_error = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => NetnsError::NotFound { path: path.to_owned() },
            _ => NetnsError::Open { path: path.to_owned(), source },
        };
        let file = File::open(path).map_err(io_error)?;
        let fs = fstatfs(&file).map_err(|error| io_error(error.into()))?;
        if fs.filesystem_type() != NSFS_MAGIC {
            return Err(NetnsError::NotANetns { path: path.to_owned() });
        }
        let id = NetnsId::of(&file).map_err(io_error)?;
        if id == home.id || Some(id) == home.init {
            return Err(NetnsError::Host { path: path.to_owned() });
        }
        Ok(Self { file, id, path: path.to_owned(), home })
    }

    /// The identity of this namespace.
    #[must_use]
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// The path at which it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `f` with the calling thread inside this namespace.
    ///
    /// # Errors
    /// When the namespace can't be entered. Then `f` was not called.
    pub fn enter<T>(&self, f: impl FnOnce() -> T) -> Result<T, NetnsError> {
        /// Returns the thread to the daemon's namespace in every case, also after a panic in `f`.
        struct Return<'a>(&'a HomeNetns);
        impl Drop for Return<'_> {
            fn drop(&mut self) {
                if let Err(error) = setns(&self.0.file, CloneFlags::CLONE_NEWNET) {
                    // A thread that stays in a pod would open the node's next sockets there. The
                    // end of the process gives all traffic back to the apps.
                    tracing::error!(%error, "can't return to the node's network namespace");
                    std::process::abort();
                }
            }
        }
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .map_err(|source| NetnsError::Enter { path: self.path.clone(), source })?;
        let _return = Return(self.home);
        Ok(f())
    }

    /// A non-blocking TCP socket of the family of `ip`. It belongs to this namespace, whichever
    /// thread uses it.
    ///
    /// # Errors
    /// When the namespace can't be entered or the kernel is out of sockets.
    pub fn tcp_socket(&self, ip: IpAddr) -> io::Result<Socket> {
        self.enter(|| tcp_socket(ip)).map_err(io::Error::other)?
    }

    /// The TCP ports of this namespace on which something listens.
    ///
    /// # Errors
    /// When the namespace can't be entered, or the kernel does not list its sockets.
    pub fn listening_ports(&self) -> io::Result<BTreeSet<u16>> {
        self.enter(listening::listening_ports).map_err(io::Error::other)?
    }

    /// The TCP ports of this namespace with a listener that has TCP MD5 keys (RFC 2385).
    ///
    /// # Errors
    /// When the namespace can't be entered, or the kernel does not list its sockets.
    pub fn signed_ports(&self) -> io::Result<BTreeSet<u16>> {
        self.enter(listening::signed_ports).map_err(io::Error::other)?
    }

    /// A socket that answers questions about the sockets of this namespace.
    ///
    /// # Errors
    /// When the namespace can't be entered or the kernel is out of sockets.
    pub fn sock_diag(&self) -> io::Result<SockDiag> {
        self.enter(SockDiag::open).map_err(io::Error::other)?
    }

    /// Whether `ip` is an address of this namespace.
    ///
    /// # Errors
    /// When the kernel gives no answer.
    pub fn has_address(&self, ip: IpAddr) -> io::Result<bool> {
        self.enter(|| Addresses::default().contain(ip)).map_err(io::Error::other)?
    }
}

/// Whether the namespace `id` is gone, judged by the result of opening its path just now.
///
/// A failure of another kind, such as a shortage of file descriptors, does not mean that it is
/// gone.
#[must_use]
pub fn is_gone(opened: &Result<Netns, NetnsError>, id: NetnsId) -> bool {
    match opened {
        Ok(netns) => netns.id() != id,
        Err(NetnsError::Open { .. } | NetnsError::Enter { .. }) => false,
        Err(
            NetnsError::NotFound { .. }
            | NetnsError::NotANetns { .. }
            | NetnsError::NoneHasAddress { .. }
            | NetnsError::Ambiguous { .. }
            | NetnsError::Terminating
            | NetnsError::Host { .. },
        ) => true,
    }
}

fn listed(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn comma(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn processes_hint(processes: bool) -> &'static str {
    if processes { "; nor has the namespace of any process" } else { "" }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_own_namespace_is_refused_whatever_the_path() {
        let home = HomeNetns::capture().expect("procfs");
        let path = PathBuf::from(format!("/proc/{}/ns/net", std::process::id()));
        assert!(matches!(Netns::open(&path, home), Err(NetnsError::Host { .. })));
    }

    #[test]
    fn a_plain_file_is_not_a_namespace() {
        let home = HomeNetns::capture().expect("procfs");
        let error = Netns::open(Path::new("/proc/self/status"), home).expect_err("not a namespace");
        assert!(matches!(error, NetnsError::NotANetns { .. }), "{error}");
        let error = Netns::open(Path::new("/nowhere/at/all"), home).expect_err("nothing there");
        assert!(matches!(error, NetnsError::NotFound { .. }), "{error}");
    }

    #[test]
    fn own_addresses_are_told_from_others() {
        let home = HomeNetns::capture().expect("procfs");
        assert!(home.has_address("127.0.0.1".parse().expect("address")));
        // TEST-NET-3 of RFC 5737: an address that no host has.
        assert!(!home.has_address("203.0.113.9".parse().expect("address")));
    }
}
