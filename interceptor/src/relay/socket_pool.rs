//! Sockets of a pod's network namespace, created before they are needed.
//!
//! Entering a namespace and leaving it again costs about as much as creating a socket. A thread
//! that enters it for one of many connections therefore creates several sockets.
//!
//! Only a series of connections fills the pool, and unused sockets are closed soon: a quiet pod has
//! none. A worker never waits for another one here.

use std::{
    io,
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use socket2::Socket;

use crate::netns::{self, Netns};

/// Maximum number of sockets created per visit to a namespace.
const BATCH: usize = 8;

/// Maximum number of unused sockets over all namespaces.
pub const MAX_SPARE: usize = 16;

/// The number of unused sockets at present.
static SPARE: AtomicUsize = AtomicUsize::new(0);

/// The unused sockets of one namespace, IPv4 and IPv6.
#[derive(Debug, Default)]
pub struct Pool([Mutex<FamilyPool>; 2]);

/// The unused sockets of one family.
#[derive(Debug, Default)]
struct FamilyPool {
    spare: Vec<Spare>,
    /// The number of sockets taken since the last [`Pool::clear_unwanted`].
    taken: usize,
    /// The workload is detached: no call of [`Pool::clear_unwanted`] will follow.
    is_closed: bool,
}

/// An unused socket, counted in [`SPARE`].
#[derive(Debug)]
struct Spare(Option<Socket>);

// === impl Pool ===

impl Pool {
    /// A TCP socket of `netns`, of the family of `ip`: non-blocking, and never used.
    ///
    /// # Errors
    /// When the namespace can't be entered or the kernel has no socket to give.
    pub fn take(&self, netns: &Netns, ip: IpAddr) -> io::Result<Socket> {
        let Some(mut family) = self.0[usize::from(ip.is_ipv6())].try_lock() else {
            return netns.tcp_socket(ip);
        };
        family.taken += 1;
        if let Some(socket) = family.spare.pop().and_then(Spare::take) {
            return Ok(socket);
        }
        let more = if family.is_closed { 0 } else { family.taken.min(BATCH) - 1 };
        let made = netns.enter(|| {
            let first = netns::tcp_socket(ip)?;
            // An error here is reported when a connection needs the socket.
            family.spare.extend((0..more).map_while(|_| Spare::make(ip)));
            Ok(first)
        });
        made.map_err(io::Error::other)?
    }

    /// Closes the sockets of a family of which none was taken since the last call. A worker calls
    /// this several times a second.
    pub fn clear_unwanted(&self) {
        // A family that is locked is in use.
        for mut family in self.0.iter().filter_map(|family| family.try_lock()) {
            if std::mem::take(&mut family.taken) == 0 {
                family.spare.clear();
            }
        }
    }

    /// Closes all unused sockets. From now on only sockets that are taken are created.
    pub fn close(&self) {
        for family in &self.0 {
            *family.lock() = FamilyPool { is_closed: true, ..FamilyPool::default() };
        }
    }
}

// === impl Spare ===

impl Spare {
    /// Creates a socket in the thread's namespace. None if there are enough, or the kernel refuses.
    fn make(ip: IpAddr) -> Option<Self> {
        let counted = SPARE.fetch_add(1, Ordering::Relaxed);
        // Its drop takes the count back.
        let mut spare = Self(None);
        if counted < MAX_SPARE {
            spare.0 = netns::tcp_socket(ip).ok();
        }
        spare.0.is_some().then_some(spare)
    }

    fn take(mut self) -> Option<Socket> {
        self.0.take()
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        SPARE.fetch_sub(1, Ordering::Relaxed);
    }
}
