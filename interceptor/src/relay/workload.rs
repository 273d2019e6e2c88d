//! A workload as the workers see it: a namespace, its redirected ports, and the ways in and out of
//! it.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use arc_swap::ArcSwap;
use interceptor_common::{heartbeat::AT_LIMIT, port::Port, steal::MAX_WORKERS};
use socket2::Socket;

pub use super::workload_id::WorkloadId;
use super::{
    canary::Canaries, loop_guard::LoopGuard, netns_stream::NetnsGone, pressure::Pressure,
    route::Route, socket_pool::Pool, source_ports::SourcePorts,
};
use crate::{
    config::{policy::Dial, workloads::HealthCheck},
    datapath::{Bypass, HeartbeatPage, NetnsCallers},
    netns::{HomeNetns, Netns},
};

/// Redirected ports and where they lead; the routes of a port in the order in which they are asked.
pub type Routes = HashMap<Port, Arc<[Arc<Route>]>>;

/// What all workers share of one armed workload.
#[derive(Debug)]
pub struct Workload {
    /// Which arming this is.
    pub id: WorkloadId,
    /// The name in logs, metrics and status.
    pub name: Arc<str>,
    /// The namespace that connections are stolen in.
    pub netns: Netns,
    /// Pool to be, of this namespace.
    pub sockets: Pool,
    /// Where the application is called from.
    pub source_ports: SourcePorts,
    /// Lets the relay's own connections pass the program.
    pub bypass: Arc<Bypass>,
    /// Lets the application see the callers of connections that are passed on to it.
    pub callers: Arc<NetnsCallers>,
    /// The relay's own listeners: not to be called directly.
    pub listeners: Vec<SocketAddr>,
    /// Probe connections that are under way.
    pub canaries: Canaries,
    /// The daemon's upstream connections, for finding loops.
    pub loop_guard: Arc<LoopGuard>,
    /// Whether the process is out of something.
    pub pressure: Arc<Pressure>,
    /// What the kernel program goes by; the workers store into it.
    pub heartbeats: Arc<HeartbeatPage>,
    /// How the kubelet asks whether the application is well.
    pub health_checks: Vec<HealthCheck>,
    /// Where the kubelet lives.
    pub home: &'static HomeNetns,
    /// Where targets are called from.
    pub dial: Dial,
    /// How long a caller waits for a target before the application serves it.
    pub connect_timeout: Duration,
    /// Connections that were made to one of `listeners`, and closed.
    pub strays: AtomicU64,
    /// Connections to a port that had been given back so long ago that it has no counters any more.
    pub unrouted: AtomicU64,
    /// Whether the namespace is gone: then connections are closed with a reset.
    pub gone: NetnsGone,
    /// By port.
    pub routes: ArcSwap<Routes>,
}

// === impl Workload ===

impl Workload {
    /// The routes of the redirected TCP port `port`.
    #[must_use]
    pub fn routes(&self, port: u16) -> Option<Arc<[Arc<Route>]>> {
        self.routes.load().get(&Port::tcp(NonZeroU16::new(port)?)).cloned()
    }

    /// A TCP socket of the namespace, of the family of `ip`.
    ///
    /// # Errors
    /// When the namespace can't be entered or the kernel has no socket to give.
    pub fn tcp_socket(&self, ip: IpAddr) -> io::Result<Socket> {
        self.sockets.take(&self.netns, ip)
    }

    /// Leaves new connections with the application until the workers' next beat.
    pub fn hold_off(&self) {
        for worker in 0..MAX_WORKERS {
            self.heartbeats.store(worker, AT_LIMIT);
        }
    }

    /// Whether connections to the TCP port `port` are stolen at present.
    #[must_use]
    pub fn is_redirected(&self, port: u16) -> bool {
        self.routes(port).is_some_and(|routes| routes.iter().any(|route| !route.is_withdrawn()))
    }
}
