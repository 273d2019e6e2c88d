//! A workload as the workers see it: a namespace, its redirected ports, and the ways in and out.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use interceptor_common::{heartbeat::AT_LIMIT, port::Port, steal::MAX_WORKERS};
use socket2::Socket;

pub use super::workload_id::WorkloadId;
use super::{
    app_keepalive::AppKeepalive, canary::Canaries, capacity::Capacity, checks::CheckFinder,
    farewell::Farewell, loop_guard::LoopGuard, loop_watch::LoopWatch, netns_stream::NetnsGone,
    pressure::Pressure, probe_turn::ProbeTurn, route::Route, socket_pool::Pool,
    source_ports::SourcePorts,
};
use crate::{
    config::{
        policy::{Dial, Silence},
        workloads::HealthCheck,
    },
    datapath::{Bypass, HeartbeatPage, NetnsCallers},
    netns::{HomeNetns, Netns},
};

/// The routes of each redirected port, in the order in which they are asked.
pub type Routes = HashMap<Port, Arc<[Arc<Route>]>>;

/// An attached workload, shared by all workers.
#[derive(Debug)]
pub struct Workload {
    /// The number of this attachment.
    pub id: WorkloadId,
    /// The name in logs, metrics and status.
    pub name: Arc<str>,
    /// The network namespace of the pod.
    pub netns: Netns,
    /// Unused sockets of the namespace.
    pub sockets: Pool,
    /// The source ports of connections to the app.
    pub source_ports: SourcePorts,
    /// The app's keepalive on each port, as far as it was seen.
    pub app_keepalive: AppKeepalive,
    /// Lets the relay's own connections bypass the kernel program.
    pub bypass: Arc<Bypass>,
    /// Lets the app see the client's address of a relayed connection.
    pub callers: Arc<NetnsCallers>,
    /// The addresses of the relay's own listeners. Clients must not connect to them directly.
    pub listeners: Vec<SocketAddr>,
    /// Canary connections on their way.
    pub canaries: Canaries,
    /// Upstream connections of the whole daemon, for finding loops.
    pub loop_guard: Arc<LoopGuard>,
    /// Connections that may be a loop probe's own.
    pub loop_watch: LoopWatch,
    /// Whose loop probe is under way, of the whole daemon.
    pub probe_turn: Arc<ProbeTurn>,
    /// The open connections of the whole daemon and their maximum.
    pub capacity: Arc<Capacity>,
    /// Whether the daemon is ending.
    pub farewell: Arc<Farewell>,
    /// Whether the process is short of file descriptors or memory.
    pub pressure: Arc<Pressure>,
    /// Heartbeats and grants that the kernel program reads; the workers write them.
    pub heartbeats: Arc<HeartbeatPage>,
    /// The kubelet's probes of the pod's ports.
    pub health_checks: Vec<HealthCheck>,
    /// Recognises the pod's `exec` probes; replaced by the control side. `None`: the pod has none,
    /// or they can't be recognised.
    pub checks: ArcSwapOption<CheckFinder>,
    /// The node's own namespace, from which the kubelet probes.
    pub home: &'static HomeNetns,
    /// The namespace that targets are dialled from.
    pub dial: Dial,
    /// Maximum wait of a client for a target before the app serves it.
    pub connect_timeout: Duration,
    /// Maximum silence of a client before its bytes are passed on without a decision.
    pub silence: Silence,
    /// Connections to one of `listeners` itself, which the relay resets.
    pub strays: AtomicU64,
    /// Connections to a port that was given back, and whose counters are gone.
    pub unrouted: AtomicU64,
    /// Whether the namespace is gone: then connections are closed with a reset.
    pub gone: NetnsGone,
    /// The rules of each redirected port; replaced by the control side.
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

    /// Leaves new connections with the app until the workers' next heartbeat.
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
