//! Finds connections of our own that come back to us.
//!
//! The relay's connection to a target may meet another redirected port, whose target may be the
//! first port again. A client address that equals the local address of one of our upstream
//! connections shows it. Each upstream connection is registered with the ports that led to it.
//! A connection that is about to visit a port twice goes to the app instead. Address translation on
//! the way (SNAT) hides the source; see `ARCHITECTURE.md` for that limit.
//!
//! The local address is known only after the SYN is sent, and another worker may accept the
//! resulting connection before this one has registered it. Dialling therefore holds a read lock
//! from before the SYN until the source address is registered. A worker that sees an unknown
//! client from one of our addresses takes the write lock, which waits for dials in progress, and
//! looks again.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::{addr::ClientAddr, suspicion::Suspicion, workload_id::WorkloadId};

/// A redirected port of one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The workload.
    pub workload: WorkloadId,
    /// Its port.
    pub port: u16,
}

/// The redirected ports that led to a connection, latest first.
#[derive(Debug)]
pub struct Hops {
    hop: Hop,
    before: Option<Arc<Hops>>,
    /// Whether `before` visits `hop`.
    is_loop: bool,
    /// The target that gets the connection, if a rule takes all of the port's.
    target: OnceLock<Arc<Suspicion>>,
}

/// Every open upstream connection of the daemon, by its local address.
#[derive(Debug, Default)]
pub struct LoopGuard {
    /// Usually one path per address. Connections to different destinations may share a local port,
    /// and namespaces may share addresses.
    upstreams: Mutex<HashMap<SocketAddr, Vec<Arc<Hops>>>>,
    /// Source addresses of upstream connections so far, except loopback. A client from any other
    /// address can't be one of ours.
    sources: RwLock<HashSet<IpAddr>>,
    /// Read-locked from before a SYN is sent until its source is in `upstreams`.
    dialling: RwLock<()>,
}

/// A dial in progress, whose source address is not registered yet.
#[derive(Debug)]
#[must_use = "workers that accept may wait while this lives"]
pub struct Dialling<'a> {
    loop_guard: &'a Arc<LoopGuard>,
    _lock: RwLockReadGuard<'a, ()>,
}

/// An upstream connection that can be recognised; forgotten when dropped.
#[derive(Debug)]
pub struct Registration {
    loop_guard: Arc<LoopGuard>,
    local: SocketAddr,
    path: Arc<Hops>,
}

// === impl Hops ===

impl Hops {
    /// Whether the connection has been at its present hop before.
    #[must_use]
    pub fn is_loop(&self) -> bool {
        self.is_loop
    }

    /// Notes the target of the rule that takes the connection at its present hop.
    pub fn taken_for(&self, target: &Arc<Suspicion>) {
        self.target.get_or_init(|| Arc::clone(target));
    }

    /// Where the path visits `hop`.
    fn visit(&self, hop: Hop) -> Option<&Self> {
        let mut path = Some(self);
        while let Some(visited) = path {
            if visited.hop == hop {
                return path;
            }
            path = visited.before.as_deref();
        }
        None
    }
}

// === impl LoopGuard ===

impl LoopGuard {
    /// The path of a connection that arrives from `client` at `hop`.
    pub fn extend(&self, client: ClientAddr, hop: Hop) -> Arc<Hops> {
        let mut paths = self.paths(client);
        if paths.is_empty() && self.is_source(client.ip()) {
            drop(self.dialling.write());
            paths = self.paths(client);
        }
        let visit = paths.iter().find_map(|path| path.visit(hop));
        let is_loop = visit.is_some();
        // Another client may have the address of one of our connections. A probe finds out.
        if let Some(target) = visit.and_then(|visit| visit.target.get()) {
            target.suspect();
        }
        Arc::new(Hops { hop, before: paths.pop(), is_loop, target: OnceLock::new() })
    }

    fn paths(&self, ClientAddr(client): ClientAddr) -> Vec<Arc<Hops>> {
        self.upstreams.lock().get(&client).cloned().unwrap_or_default()
    }

    /// Announces a dial. Call this before connecting; `source` is the probable source address.
    pub fn dialling(self: &Arc<Self>, source: IpAddr) -> Dialling<'_> {
        self.note_source(source);
        Dialling { loop_guard: self, _lock: self.dialling.read() }
    }

    fn is_source(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.sources.read().contains(&ip)
    }

    /// The set only grows, by the few addresses of each attached pod.
    fn note_source(&self, ip: IpAddr) {
        if !self.is_source(ip) {
            self.sources.write().insert(ip);
        }
    }
}

// === impl Dialling ===

impl Dialling<'_> {
    /// Registers the connection with this local address. Call this when its SYN is sent; `path` led
    /// to it.
    pub fn register(self, local: SocketAddr, path: Arc<Hops>) -> Registration {
        self.loop_guard.note_source(local.ip());
        self.loop_guard.upstreams.lock().entry(local).or_default().push(Arc::clone(&path));
        Registration { loop_guard: Arc::clone(self.loop_guard), local, path }
    }
}

// === impl Registration ===

impl Drop for Registration {
    fn drop(&mut self) {
        let mut upstreams = self.loop_guard.upstreams.lock();
        if let Some(paths) = upstreams.get_mut(&self.local) {
            paths.retain(|path| !Arc::ptr_eq(path, &self.path));
            if paths.is_empty() {
                upstreams.remove(&self.local);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "10.0.0.1:40000";

    fn hop(workload: u32, port: u16) -> Hop {
        Hop { workload: WorkloadId(workload), port }
    }

    #[test]
    fn a_client_that_is_not_ours_is_no_loop() {
        let loop_guard = LoopGuard::default();
        assert!(
            !loop_guard.extend(ClientAddr(CLIENT.parse().expect("address")), hop(1, 80)).is_loop()
        );
    }

    #[test]
    fn a_chain_may_be_long_but_visits_no_port_twice() {
        let loop_guard = Arc::new(LoopGuard::default());
        let mut peer: SocketAddr = CLIENT.parse().expect("address");
        let mut guards = Vec::new();
        for n in 1..=3 {
            let path = loop_guard.extend(ClientAddr(peer), hop(n, 80));
            assert!(!path.is_loop(), "not visited yet");
            peer.set_port(peer.port() + 1);
            guards.push(loop_guard.dialling(peer.ip()).register(peer, path));
        }
        assert!(
            !loop_guard.extend(ClientAddr(peer), hop(1, 81)).is_loop(),
            "another port of the first"
        );
        for n in 1..=3 {
            assert!(loop_guard.extend(ClientAddr(peer), hop(n, 80)).is_loop(), "hop {n} again");
        }
        guards.pop();
        assert!(
            !loop_guard.extend(ClientAddr(peer), hop(1, 80)).is_loop(),
            "forgotten with its connection"
        );
    }

    #[test]
    fn a_dial_in_progress_is_waited_for() {
        let loop_guard = Arc::new(LoopGuard::default());
        let client: SocketAddr = CLIENT.parse().expect("address");
        let ours: SocketAddr = "10.0.0.2:50000".parse().expect("address");
        let path = loop_guard.extend(ClientAddr(client), hop(1, 80));
        let dialling = loop_guard.dialling(ours.ip());
        std::thread::scope(|scope| {
            let answer = scope.spawn(|| loop_guard.extend(ClientAddr(ours), hop(1, 80)).is_loop());
            // However long connecting takes, the other worker must not conclude anything before it
            // is noted.
            std::thread::sleep(std::time::Duration::from_millis(20));
            let _registration = dialling.register(ours, path);
            assert!(answer.join().expect("no panic"), "the loop was not seen");
        });
    }
}
