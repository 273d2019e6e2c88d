//! Sockets of a pod's network namespace, made before they are wanted. Entering a namespace and
//! leaving it again costs about as much as making a socket, so somebody who is in there for one of
//! many makes some more.
//!
//! Only callers who come one after the other fill a shelf, and what nobody takes is closed soon: a
//! quiet pod has none. No worker ever waits for another one here.

use std::{
    io,
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use socket2::Socket;

use crate::netns::{self, Netns};

/// As many sockets are made at once at most.
const BATCH: usize = 8;

/// As many lie unused at most, of all namespaces.
pub const MAX_SPARE: usize = 16;

/// How many do.
static SPARE: AtomicUsize = AtomicUsize::new(0);

/// Unused sockets of one namespace, by family.
#[derive(Debug, Default)]
pub struct Pool([Mutex<FamilyPool>; 2]);

/// Those of one family.
#[derive(Debug, Default)]
struct FamilyPool {
    spare: Vec<Spare>,
    /// How many were taken since the last look.
    taken: usize,
    /// Nobody looks any more.
    is_closed: bool,
}

/// Counted as long as it is unused.
#[derive(Debug)]
struct Spare(Option<Socket>);

// === impl Pool ===

impl Pool {
    /// A TCP socket of `netns`, of the family of `ip`: non-blocking, and never used.
    ///
    /// # Errors
    /// When the namespace can't be entered or the kernel has no socket to give.
    pub fn take(&self, netns: &Netns, ip: IpAddr) -> io::Result<Socket> {
        let Some(mut shelf) = self.0[usize::from(ip.is_ipv6())].try_lock() else {
            return netns.tcp_socket(ip);
        };
        shelf.taken += 1;
        if let Some(socket) = shelf.spare.pop().and_then(Spare::take) {
            return Ok(socket);
        }
        let more = if shelf.is_closed { 0 } else { shelf.taken.min(BATCH) - 1 };
        let made = netns.enter(|| {
            let first = netns::tcp_socket(ip)?;
            // That there are no more is said to who wants one.
            shelf.spare.extend((0..more).map_while(|_| Spare::make(ip)));
            Ok(first)
        });
        made.map_err(io::Error::other)?
    }

    /// Closes what nobody has wanted since the last time. Is called some times in a second.
    pub fn clear_unwanted(&self) {
        // Where somebody is at it, something is wanted.
        for mut shelf in self.0.iter().filter_map(|shelf| shelf.try_lock()) {
            if std::mem::take(&mut shelf.taken) == 0 {
                shelf.spare.clear();
            }
        }
    }

    /// Closes all, and makes none any more but those that are taken.
    pub fn close(&self) {
        for shelf in &self.0 {
            *shelf.lock() = FamilyPool { is_closed: true, ..FamilyPool::default() };
        }
    }
}

// === impl Spare ===

impl Spare {
    /// In the thread's namespace. None when there are enough, or the kernel has none to give.
    fn make(ip: IpAddr) -> Option<Self> {
        let counted = SPARE.fetch_add(1, Ordering::Relaxed);
        // Takes the count back when it is dropped.
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
