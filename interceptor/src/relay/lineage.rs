//! Connections of our own that come back to us.
//!
//! The relay's connection to a target may meet another redirected port, and that one's target the first again. A
//! caller's source address that equals the local address of one of our upstream connections shows it: each upstream
//! is remembered with the ports that led to it, and a connection that is about to visit a port twice goes to the
//! application instead. Address translation on the way (SNAT) hides the source; see `ARCHITECTURE.md` for that limit.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use super::workload::WorkloadId;

/// A redirected port of one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Whose port.
    pub workload: WorkloadId,
    /// Which port.
    pub port: u16,
}

/// The redirected ports that led to a connection, latest first.
#[derive(Debug)]
pub struct Path {
    hop: Hop,
    before: Option<Arc<Path>>,
}

/// Every open upstream connection of the daemon, by its local address.
#[derive(Debug, Default)]
pub struct Lineage {
    upstreams: Mutex<HashMap<SocketAddr, Arc<Path>>>,
}

/// Forgets an upstream connection when dropped.
#[derive(Debug)]
pub struct Remembered {
    lineage: Arc<Lineage>,
    local: SocketAddr,
}

// === impl Lineage ===

impl Lineage {
    /// The path of a connection that arrives from `peer` at `hop`; `None` if it was at `hop` before: a loop.
    pub fn extend(&self, peer: SocketAddr, hop: Hop) -> Option<Path> {
        let before = self.lock().get(&peer).cloned();
        let mut earlier = before.as_deref();
        while let Some(path) = earlier {
            if path.hop == hop {
                return None;
            }
            earlier = path.before.as_deref();
        }
        Some(Path { hop, before })
    }

    /// Remembers that the connection with this local address was made for `path`.
    pub fn remember(self: &Arc<Self>, local: SocketAddr, path: Path) -> Remembered {
        self.lock().insert(local, Arc::new(path));
        Remembered { lineage: Arc::clone(self), local }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Arc<Path>>> {
        self.upstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Remembered ===

impl Drop for Remembered {
    fn drop(&mut self) {
        self.lineage.lock().remove(&self.local);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "10.0.0.1:40000";

    fn hop(workload: u32, port: u16) -> Hop {
        Hop { workload: WorkloadId(workload), port }
    }

    #[test]
    fn a_stranger_has_no_past() {
        let lineage = Lineage::default();
        assert!(lineage.extend(CALLER.parse().expect("address"), hop(1, 80)).is_some());
    }

    #[test]
    fn a_chain_may_be_long_but_visits_no_port_twice() {
        let lineage = Arc::new(Lineage::default());
        let mut peer: SocketAddr = CALLER.parse().expect("address");
        let mut guards = Vec::new();
        for n in 1..=3 {
            let path = lineage.extend(peer, hop(n, 80)).expect("not visited yet");
            peer.set_port(peer.port() + 1);
            guards.push(lineage.remember(peer, path));
        }
        assert!(lineage.extend(peer, hop(1, 81)).is_some(), "another port of the first");
        for n in 1..=3 {
            assert!(lineage.extend(peer, hop(n, 80)).is_none(), "hop {n} again");
        }
        guards.pop();
        assert!(lineage.extend(peer, hop(1, 80)).is_some(), "forgotten with its connection");
    }
}
