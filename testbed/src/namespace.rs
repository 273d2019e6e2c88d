//! A network namespace: its addresses, and ways to run something inside.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt as _,
    panic,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};

use crate::{command, ip};

/// A handle to a namespace, cheap to clone. The namespace belongs to its
/// [`Topology`](crate::Topology).
#[derive(Clone, Debug)]
pub struct Namespace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    label: String,
    name: String,
    path: PathBuf,
    dir: PathBuf,
    addresses: Addresses,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) ip4: Ipv4Addr,
    pub(crate) ip6: Ipv6Addr,
    pub(crate) gateway4: Ipv4Addr,
    pub(crate) gateway6: Ipv6Addr,
}

impl Namespace {
    pub(crate) fn new(label: &str, prefix: &str, dir: &Path, addresses: Addresses) -> Self {
        let name = format!("{prefix}-{label}");
        let path = Path::new("/run/netns").join(&name);
        Self(Arc::new(Inner {
            label: label.to_owned(),
            name,
            path,
            dir: dir.to_owned(),
            addresses,
        }))
    }

    /// The name within the test: `web`.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// The name for `ip netns`, unique on this machine.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// `/run/netns/<name>`.
    pub fn netns_path(&self) -> &Path {
        &self.0.path
    }

    /// The inode number, by which the kernel identifies it.
    pub fn inode(&self) -> Result<u64> {
        let path = self.netns_path();
        Ok(fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.ino())
    }

    /// The IPv4 address.
    pub fn ip4(&self) -> Ipv4Addr {
        self.0.addresses.ip4
    }

    /// The IPv6 address.
    pub fn ip6(&self) -> Ipv6Addr {
        self.0.addresses.ip6
    }

    /// The node's address on the link to this namespace. A pod sees its kubelet's calls come from
    /// there.
    pub fn gateway4(&self) -> Ipv4Addr {
        self.0.addresses.gateway4
    }

    /// As [`gateway4`](Self::gateway4), for IPv6.
    pub fn gateway6(&self) -> Ipv6Addr {
        self.0.addresses.gateway6
    }

    /// The folder of the topology.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Runs `body` on a new thread inside the namespace. A socket created there stays in the
    /// namespace, whichever thread uses it later.
    ///
    /// # Panics
    /// If the namespace is gone, or if `body` panics.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.enter().unwrap_or_else(|error| panic!("{error:#}"));
            body()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    /// Moves the calling thread into the namespace, for good.
    pub(crate) fn enter(&self) -> Result<()> {
        let path = self.netns_path();
        let netns = File::open(path).with_context(|| format!("open {}", path.display()))?;
        setns(netns, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter {}", path.display()))
    }

    /// A command that runs inside the namespace. [`CommandExt`](crate::CommandExt) confines it
    /// further.
    ///
    /// # Panics
    /// If the namespace is gone.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let path = self.netns_path();
        let netns =
            File::open(path).unwrap_or_else(|error| panic!("open {}: {error}", path.display()));
        let mut command = Command::new(program);
        command::enter_netns(&mut command, netns);
        command
    }

    /// Runs lines of `ip` inside, as in `node.ip("route add blackhole 10.0.0.0/8")`.
    pub fn ip(&self, script: &str) -> Result<()> {
        ip::batch(&mut self.command("ip"), script).with_context(|| format!("in {}", self.label()))
    }

    /// Sets a sysctl, by its path below `/proc/sys`: `net/ipv4/ip_forward`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.run(|| fs::write(Path::new("/proc/sys").join(key), value))
            .with_context(|| format!("set sysctl {key} in {}", self.label()))
    }

    /// Behaves as a laptop that is asleep: packets arrive, and nothing is sent, not even a reset.
    pub fn fall_asleep(&self) -> Result<()> {
        // Two routes for half of all addresses each win over the default route, which may stay.
        self.ip("route add blackhole 0.0.0.0/1
             route add blackhole 128.0.0.0/1
             route add blackhole ::/1
             route add blackhole 8000::/1")
    }

    /// Undoes [`fall_asleep`](Self::fall_asleep).
    pub fn wake_up(&self) -> Result<()> {
        self.ip("route del blackhole 0.0.0.0/1
             route del blackhole 128.0.0.0/1
             route del blackhole ::/1
             route del blackhole 8000::/1")
    }
}
