//! What every part of the control side may use, and how it wakes the reconciler.
//!
//! This is the ground floor: parts above it reach shared state through [`Context`], and not through
//! the reconciler.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::mpsc::UnboundedSender;

use super::{claims::Claims, draining::Draining};
use crate::{
    config::policy::Policy,
    datapath::{Callers, Loader},
    limits::Limits,
    netns::{HomeNetns, finder::Finder},
    relay::{loop_guard::LoopGuard, probe_turn::ProbeTurn, worker::Workers},
};

/// The parts of the daemon that the control side works with. One for the whole process.
pub struct Context {
    /// The daemon's own network namespace.
    pub home: &'static HomeNetns,
    /// The admin's limits.
    pub policy: Arc<Policy>,
    /// The process's limits, shared by connections and armed workloads.
    pub limits: Limits,
    /// Finds pods' namespaces.
    pub finder: Finder,
    /// The threads that relay.
    pub workers: Arc<Workers>,
    /// The daemon's upstream connections.
    pub loop_guard: Arc<LoopGuard>,
    /// Whose loop probe is under way.
    pub probe_turn: Arc<ProbeTurn>,
    /// Loads the kernel programs, once for each namespace.
    pub loader: Mutex<Loader>,
    /// Shows apps the addresses of their clients.
    pub callers: Arc<Callers>,
    /// Seconds from the first step of a workload to its programs being attached.
    pub arm_seconds: Histogram,
    /// Wakes the reconciler.
    pub wakes: UnboundedSender<Wake>,
    /// The owner of each port of an armed namespace.
    pub claims: Claims,
    /// Disarmed workloads whose connections may still go on.
    pub draining: Mutex<Vec<Draining>>,
}

/// What the reconciler has to step or to read again.
#[derive(Clone, Debug)]
pub enum Wake {
    /// One workload, by name.
    Workload(Arc<str>),
    /// Every workload: the mounts changed.
    Mounts,
    /// One workload, by name: the process that its spec names has ended.
    Ended(Arc<str>),
    /// The source: it has changed, or SIGHUP asked to read it again.
    Source,
}

/// Wakes the reconciler for one workload.
#[derive(Clone, Debug)]
pub struct Waker {
    name: Arc<str>,
    wakes: UnboundedSender<Wake>,
}

// === impl Context ===

impl Context {
    /// Watches over a disarmed workload until its connections have ended.
    pub fn drain(&self, disarmed: Draining) {
        let mut draining = self.draining.lock();
        draining.retain(|workload| !workload.is_over());
        draining.push(disarmed);
    }

    /// A waker for the workload `name`.
    #[must_use]
    pub fn waker(&self, name: &Arc<str>) -> Waker {
        Waker::new(name, &self.wakes)
    }
}

// === impl Waker ===

impl Waker {
    /// Wakes the reconciler at the other end of `wakes` for the workload `name`.
    #[must_use]
    pub fn new(name: &Arc<str>, wakes: &UnboundedSender<Wake>) -> Self {
        Self { name: Arc::clone(name), wakes: wakes.clone() }
    }

    /// Asks the reconciler to step the workload soon.
    pub fn wake(&self) {
        // This fails when the reconciler has ended. The daemon is ending then.
        let _ = self.wakes.send(Wake::Workload(Arc::clone(&self.name)));
    }
}
