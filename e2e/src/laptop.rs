//! The developer's laptop: a host in the network of the nodes.

use std::{
    fs::File,
    net::{Ipv4Addr, Ipv6Addr},
    panic, thread,
};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};

/// Its IPv4 address.
pub const LAPTOP: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 100);
/// Its IPv6 address, on a cluster with IPv6.
pub const LAPTOP6: Ipv6Addr = Ipv6Addr::new(0xfd3e, 0x9c51, 0xa7d2, 0x99, 0, 0, 0, 0x100);
/// The port of a server that answers `laptop`; it runs with the cluster.
pub const LAPTOP_PORT: u16 = 3000;

const NETNS: &str = "/run/netns/interceptor-laptop";

/// Runs `body` on a new thread on the laptop. A socket created there stays there, whichever thread
/// uses it later.
///
/// # Panics
/// If the laptop is gone, or if `body` panics.
pub fn on_laptop<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    let inside = || {
        enter().unwrap_or_else(|error| panic!("{error:#}"));
        body()
    };
    thread::scope(|scope| scope.spawn(inside).join())
        .unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// Moves the calling thread to the laptop, for good.
pub(crate) fn enter() -> Result<()> {
    let netns = File::open(NETNS).with_context(|| format!("open {NETNS}"))?;
    setns(netns, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter {NETNS}"))
}
