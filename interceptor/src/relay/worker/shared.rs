//! What all workers have in common: how many connections are open and may be, and who is alive.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use interceptor_common::heartbeat::{Beat, NO_BEAT};

use super::credit::Available;
use crate::{datapath::steal::heartbeat, drain::OpenConnections, relay::pressure::Pressure};

/// What all workers have in common.
#[derive(Debug)]
pub struct Shared {
    /// Connections open at present, over all workloads.
    open: OpenConnections,
    /// How many may be open; beyond that the kernel leaves new ones with the application.
    limit: AtomicUsize,
    /// Connection tasks that panicked.
    panics: AtomicU64,
    /// Whether the process is out of something.
    pressure: Arc<Pressure>,
    /// When each worker last went round its loop, `CLOCK_MONOTONIC` nanoseconds.
    beats: Vec<AtomicU64>,
    /// How many connections each worker has room for that are not open yet: together at most what
    /// is free.
    promised: Vec<AtomicI64>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(workers: u32, limit: usize) -> Arc<Self> {
        Arc::new(Self {
            open: OpenConnections::default(),
            limit: AtomicUsize::new(limit),
            panics: AtomicU64::new(0),
            pressure: Arc::default(),
            beats: (0..workers).map(|_| AtomicU64::new(NO_BEAT)).collect(),
            promised: (0..workers).map(|_| AtomicI64::new(0)).collect(),
        })
    }

    /// Connections open at present.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.count()
    }

    /// The same, to wait for their end.
    #[must_use]
    pub fn open_connections(&self) -> &OpenConnections {
        &self.open
    }

    /// There is one more connection open.
    pub(super) fn opened(&self) {
        self.open.opened();
    }

    /// There is one less.
    pub(super) fn closed(&self) {
        self.open.closed();
    }

    /// Sets how many connections may be open.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// How many connections may be open.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Connection tasks that panicked so far.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// There is one more.
    pub(super) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// `worker` went round its loop at `now`.
    pub(super) fn beat(&self, worker: u32, now: Beat) {
        self.beats[worker as usize].store(now, Ordering::Relaxed);
    }

    /// Lets the other workers know how much of what is free is `worker`'s.
    pub(super) fn promise(&self, worker: u32, count: i64) {
        self.promised[worker as usize].store(count, Ordering::Relaxed);
    }

    /// How long ago the slowest worker went round its loop.
    #[must_use]
    pub fn heartbeat_age(&self) -> Duration {
        let oldest =
            self.beats.iter().map(|beat| beat.load(Ordering::Relaxed)).min().unwrap_or(NO_BEAT);
        Duration::from_nanos(heartbeat::now().saturating_sub(oldest))
    }

    /// Whether the process is out of something.
    #[must_use]
    pub fn pressure(&self) -> &Arc<Pressure> {
        &self.pressure
    }

    /// Whether there is no room for another connection.
    pub(super) fn is_full(&self) -> bool {
        self.open() >= self.limit()
    }

    /// What `worker` may have promised at most, and its fair share of what is free.
    pub(super) fn free_for(&self, worker: u32) -> Available {
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let free = signed(self.limit().saturating_sub(self.open()));
        let others =
            self.promised.iter().enumerate().filter(|(index, _)| *index != worker as usize);
        let promised: i64 = others.map(|(_, promised)| promised.load(Ordering::Relaxed)).sum();
        let workers = signed(self.promised.len());
        Available {
            most: free.saturating_sub(promised),
            share: free / workers + i64::from(free % workers != 0),
        }
    }
}
