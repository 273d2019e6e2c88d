//! Watches for connections of the daemon's own that come back by a way that hides their source.
//!
//! Address translation and proxies give a connection another source, so `loop_guard.rs` does not
//! recognise it. A loop probe (`control/facts/loop_probe.rs`) connects to a rule's target and sends
//! nothing. While it is under way, the connections that arrive at the rule's ports are noted here.
//! One that is open exactly as long as the probe's connection is the probe's own.
//!
//! A noted connection is held until it sends something or the probe is over. It would be the next
//! turn of the loop.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use interceptor_common::port::Port;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{probe_turn::Turn, stream::Stream};

/// The connections of one workload that may be a probe's own.
#[derive(Debug, Default)]
pub struct LoopWatch {
    /// Whether a probe is under way. While none is, accepting a connection costs one load.
    is_on: AtomicBool,
    noted: Mutex<Noted>,
    /// Told of each change of `noted`.
    changed: Notify,
    /// Told when the probe is over.
    over: Notify,
}

#[derive(Debug, Default)]
struct Noted {
    ports: Vec<u16>,
    /// By number, in the order of their arrival.
    arrivals: BTreeMap<u64, Arrival>,
    next: u64,
}

/// A connection that arrived while a probe was under way.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Instant,
    ended: Option<Instant>,
    /// It sent something, so it is no probe's.
    spoke: bool,
}

/// A probe is under way until this is dropped.
#[derive(Debug)]
pub struct Watch<'a> {
    watch: &'a LoopWatch,
    _turn: &'a Turn<'a>,
}

// === impl LoopWatch ===

impl LoopWatch {
    /// Begins to note connections to `ports`.
    pub fn begin<'a>(&'a self, ports: &[Port], turn: &'a Turn<'_>) -> Watch<'a> {
        self.noted.lock().ports = ports.iter().map(|port| port.number()).collect();
        self.is_on.store(true, Ordering::Release);
        Watch { watch: self, _turn: turn }
    }

    /// Whether connections are noted at present.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Notes a connection that a worker accepted, and holds it until it sends something or the
    /// probe is over. False if it was reset meanwhile: its client does not wait any more.
    pub async fn hold(&self, client: &Stream, port: u16) -> bool {
        let mut over = pin!(self.over.notified());
        // From here on, no end is missed.
        over.as_mut().enable();
        let Some(number) = self.arrived(port) else { return true };
        let peeked = tokio::select! {
            biased;
            peeked = client.peek(1, <[u8]>::len) => peeked,
            () = over.as_mut() => return true,
        };
        match peeked {
            Ok(0) => {
                self.note(number, |arrival| arrival.ended = Some(Instant::now()));
                // A client may end its side and wait for the answer all the same.
                over.await;
                true
            }
            Ok(_) => {
                self.note(number, |arrival| arrival.spoke = true);
                true
            }
            Err(_) => {
                self.note(number, |arrival| arrival.ended = Some(Instant::now()));
                false
            }
        }
    }

    fn arrived(&self, port: u16) -> Option<u64> {
        let mut noted = self.noted.lock();
        if !self.is_on() || !noted.ports.contains(&port) {
            return None;
        }
        let number = noted.next;
        noted.next += 1;
        noted.arrivals.insert(number, Arrival { at: Instant::now(), ended: None, spoke: false });
        drop(noted);
        self.changed.notify_one();
        Some(number)
    }

    fn note(&self, number: u64, change: impl FnOnce(&mut Arrival)) {
        // One of an earlier turn is forgotten.
        if let Some(arrival) = self.noted.lock().arrivals.get_mut(&number) {
            change(arrival);
        }
        self.changed.notify_one();
    }
}

// === impl Watch ===

impl Watch<'_> {
    /// Forgets what arrived so far.
    pub fn forget(&self) {
        self.watch.noted.lock().arrivals.clear();
    }

    /// The time of the first arrival. Waits for one, at most for `patience`.
    pub async fn first_arrival(&self, patience: Duration) -> Option<Instant> {
        self.first(patience, |noted| noted.arrivals.values().map(|arrival| arrival.at).next()).await
    }

    /// The numbers of those that are open and have sent nothing.
    #[must_use]
    pub fn open(&self) -> Vec<u64> {
        let noted = self.watch.noted.lock();
        let open = |arrival: &Arrival| arrival.ended.is_none() && !arrival.spoke;
        noted.arrivals.iter().filter(|(_, one)| open(one)).map(|(number, _)| *number).collect()
    }

    /// The time when the first of `numbers` ended without having sent anything. Waits for one, at
    /// most for `patience`.
    pub async fn first_end(&self, numbers: &[u64], patience: Duration) -> Option<Instant> {
        self.first(patience, |noted| {
            numbers.iter().filter_map(|number| noted.arrivals.get(number)?.ended).min()
        })
        .await
    }

    async fn first(
        &self,
        patience: Duration,
        find: impl Fn(&Noted) -> Option<Instant>,
    ) -> Option<Instant> {
        let found = async {
            loop {
                if let Some(found) = find(&self.watch.noted.lock()) {
                    return found;
                }
                // A change before this is not missed: `notify_one` leaves a permit.
                self.watch.changed.notified().await;
            }
        };
        timeout(patience, found).await.ok()
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.watch.is_on.store(false, Ordering::Release);
        // Numbers go on: a held connection may still be noted.
        let mut noted = self.watch.noted.lock();
        noted.ports.clear();
        noted.arrivals.clear();
        drop(noted);
        self.watch.over.notify_waiters();
    }
}
