//! Sockets of a pod's network namespace, made before they are wanted. Entering a namespace and leaving it again costs about
//! as much as making a socket, so somebody who is in there for one of many makes some more.
//!
//! Only callers who come one after the other fill the shelf, and what nobody takes is closed soon: a quiet pod has none.

use std::{
    io,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use socket2::Socket;

use crate::netns::{self, Netns};

/// As many sockets are made at once at most.
const BATCH: usize = 8;

/// The most that lie here, for both families.
pub const MAX_SPARE: usize = 2 * (BATCH - 1);

/// Unused sockets of one namespace.
#[derive(Debug, Default)]
pub struct Sockets([Mutex<Shelf>; 2]);

/// Those of one family.
#[derive(Debug, Default)]
struct Shelf {
    spare: Vec<Socket>,
    /// How many were taken since the last look.
    taken: usize,
    /// Nobody looks any more.
    is_closed: bool,
}

// === impl Sockets ===

impl Sockets {
    /// A TCP socket of `netns`, of the family of `ip`: non-blocking, and never used.
    ///
    /// # Errors
    /// When the namespace can't be entered or the kernel has no socket to give.
    pub fn take(&self, netns: &Netns, ip: IpAddr) -> io::Result<Socket> {
        let mut shelf = lock(&self.0[usize::from(ip.is_ipv6())]);
        shelf.taken += 1;
        if let Some(socket) = shelf.spare.pop() {
            return Ok(socket);
        }
        let more = if shelf.is_closed { 0 } else { shelf.taken.min(BATCH) - 1 };
        let made = netns.enter(|| {
            let first = netns::tcp_socket(ip)?;
            // That there are no more is said to who wants one.
            shelf.spare.extend((0..more).map_while(|_| netns::tcp_socket(ip).ok()));
            Ok(first)
        });
        made.map_err(io::Error::other)?
    }

    /// Closes what nobody has wanted since the last time. Is called some times in a second.
    pub fn clear_unwanted(&self) {
        for shelf in &self.0 {
            let mut shelf = lock(shelf);
            if std::mem::take(&mut shelf.taken) == 0 {
                shelf.spare.clear();
            }
        }
    }

    /// Closes all, and makes none any more but those that are taken.
    pub fn close(&self) {
        for shelf in &self.0 {
            *lock(shelf) = Shelf { is_closed: true, ..Shelf::default() };
        }
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}
