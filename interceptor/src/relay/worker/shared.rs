//! State that all workers share: the number of open connections, their limit, and heartbeats.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use interceptor_common::heartbeat::{Beat, NO_BEAT};

use super::credit::Available;
use crate::{
    datapath::steal::heartbeat,
    drain::OpenConnections,
    relay::{capacity::Capacity, farewell::Farewell, pressure::Pressure},
};

/// State that all workers share. Metrics and status read it.
#[derive(Debug)]
pub struct Shared {
    /// Connections open at present over all workloads, and their maximum. Beyond it the kernel
    /// leaves new ones with the app.
    capacity: Arc<Capacity>,
    /// Connection tasks that panicked.
    panics: AtomicU64,
    /// Whether the process is short of file descriptors or memory.
    pressure: Arc<Pressure>,
    /// Whether the daemon is ending.
    farewell: Arc<Farewell>,
    /// The last heartbeat of each worker, in nanoseconds of `CLOCK_MONOTONIC`.
    beats: Vec<AtomicU64>,
    /// Connections that each worker has reserved and that are not open yet. Their sum is at most
    /// the number of free connections.
    reserved: Vec<AtomicI64>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(workers: u32, limit: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity: Arc::new(Capacity::new(limit)),
            panics: AtomicU64::new(0),
            pressure: Arc::default(),
            farewell: Arc::default(),
            beats: (0..workers).map(|_| AtomicU64::new(NO_BEAT)).collect(),
            reserved: (0..workers).map(|_| AtomicI64::new(0)).collect(),
        })
    }

    /// Connections open at present.
    #[must_use]
    pub fn open(&self) -> usize {
        self.capacity.open().count()
    }

    /// The open connections, to wait for their end.
    #[must_use]
    pub fn open_connections(&self) -> &OpenConnections {
        self.capacity.open()
    }

    /// The open connections and their maximum.
    #[must_use]
    pub fn capacity(&self) -> &Arc<Capacity> {
        &self.capacity
    }

    /// Counts a connection that was opened.
    pub(super) fn opened(&self) {
        self.capacity.open().opened();
    }

    /// Counts a connection that was closed.
    pub(super) fn closed(&self) {
        self.capacity.open().closed();
    }

    /// Sets the maximum number of open connections.
    pub fn set_limit(&self, limit: usize) {
        self.capacity.set_limit(limit);
    }

    /// Maximum number of open connections.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.capacity.limit()
    }

    /// Connection tasks that panicked so far.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Counts a panic.
    pub(super) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a heartbeat of `worker`.
    pub(super) fn beat(&self, worker: u32, now: Beat) {
        self.beats[worker as usize].store(now, Ordering::Relaxed);
    }

    /// Tells the other workers how many of the free connections `worker` has reserved.
    pub(super) fn reserve(&self, worker: u32, count: i64) {
        self.reserved[worker as usize].store(count, Ordering::Relaxed);
    }

    /// Age of the oldest heartbeat of a worker.
    #[must_use]
    pub fn heartbeat_age(&self) -> Duration {
        let oldest =
            self.beats.iter().map(|beat| beat.load(Ordering::Relaxed)).min().unwrap_or(NO_BEAT);
        Duration::from_nanos(heartbeat::now().saturating_sub(oldest))
    }

    /// Whether the process is short of file descriptors or memory.
    #[must_use]
    pub fn pressure(&self) -> &Arc<Pressure> {
        &self.pressure
    }

    /// Whether the daemon is ending.
    #[must_use]
    pub fn farewell(&self) -> &Arc<Farewell> {
        &self.farewell
    }

    /// Whether the limit of open connections is reached.
    pub(super) fn is_full(&self) -> bool {
        self.open() >= self.limit()
    }

    /// The free connections as `worker` sees them.
    pub(super) fn available_to(&self, worker: u32) -> Available {
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let free = signed(self.limit().saturating_sub(self.open()));
        let others =
            self.reserved.iter().enumerate().filter(|(index, _)| *index != worker as usize);
        let reserved: i64 = others.map(|(_, reserved)| reserved.load(Ordering::Relaxed)).sum();
        let workers = signed(self.reserved.len());
        Available {
            most: free.saturating_sub(reserved),
            share: free / workers + i64::from(free % workers != 0),
        }
    }
}
