//! The developer's laptop: a host in the nodes' network that is no node.

use std::{
    fs::File,
    net::{Ipv4Addr, Ipv6Addr},
    panic, thread,
};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};

/// Its address.
pub const LAPTOP: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 100);
/// The one of IPv6, where the cluster has it.
pub const LAPTOP6: Ipv6Addr = Ipv6Addr::new(0xfd3e, 0x9c51, 0xa7d2, 0x99, 0, 0, 0, 0x100);
/// Where a server of the cluster's own tells that it is the laptop.
pub const LAPTOP_PORT: u16 = 3000;

const NETNS: &str = "/run/netns/interceptor-laptop";

/// Runs something on a fresh thread there. Sockets made there stay there, whoever uses them later.
///
/// # Panics
/// When the laptop is gone, and when `body` panics.
pub fn on_laptop<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    let inside = || {
        enter().unwrap_or_else(|error| panic!("{error:#}"));
        body()
    };
    thread::scope(|scope| scope.spawn(inside).join())
        .unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// Moves the calling thread there, for good.
pub(crate) fn enter() -> Result<()> {
    let netns = File::open(NETNS).with_context(|| format!("open {NETNS}"))?;
    setns(netns, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter {NETNS}"))
}
