//! The end of the daemon, as its connections see it: each is asked to end before any is cut.
//!
//! The kernel steers no new connections then, so a client that connects again reaches the app. The
//! control side moves through the [`Phase`]s, and the workers wake all connections at each of their
//! beats. A connection that serves costs one load of an atomic at each poll, and nothing else.
//!
//! - HTTP/1: FIN behind a response, with its last segment, or while no request is under way.
//! - HTTP/2: GOAWAY, and FIN after the last stream.
//! - Others can't be asked: the relay does not know where a message ends. They end in a pause
//!   behind bytes of the server.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    future::{pending, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::Poll,
    time::Duration,
};

use interceptor_api::Remaining;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use super::addr::{ClientAddr, OrigDst};

/// Maximum time from the beginning until idle connections are closed. Until then a response may
/// carry the end: no request can cross it.
const ASKING: Duration = Duration::from_secs(1);
/// Maximum time before the deadline in which a pause ends a connection that can't be asked.
const LAST: Duration = Duration::from_secs(2);
/// The pause, behind bytes of the server, that ends a connection that can't be asked.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// How far the end of the daemon is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// The daemon serves.
    #[default]
    Serving,
    /// HTTP/1 connections end with their next response, HTTP/2 connections in a moment without
    /// streams.
    Asking,
    /// Idle connections end. HTTP/2 connections get no new streams.
    Closing,
    /// Others end in a pause.
    Last,
}

/// The end of the daemon. The connections that are still open enter themselves here.
#[derive(Debug, Default)]
pub struct Farewell {
    phase: AtomicU8,
    remaining: Mutex<HashMap<u64, Entry>>,
}

/// A connection that is still open.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The workload whose port the client connected to.
    pub workload: Arc<str>,
    /// The client's address.
    pub client: ClientAddr,
    /// The address that it connected to.
    pub original: OrigDst,
    /// Why it is still open.
    pub why: Remaining,
}

/// When the later phases begin, if the daemon ends after `timeout`.
fn times(timeout: Duration) -> [(Phase, Duration); 2] {
    let quarter = timeout / 4;
    [(Phase::Closing, ASKING.min(quarter)), (Phase::Last, timeout - LAST.min(quarter))]
}

// === impl Farewell ===

impl Farewell {
    /// The current phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Serving,
            1 => Phase::Asking,
            2 => Phase::Closing,
            _ => Phase::Last,
        }
    }

    /// Whether the daemon is ending.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.phase() > Phase::Serving
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Moves through the phases, and never returns. The daemon ends at most `timeout` later.
    pub async fn say(&self, timeout: Duration) -> Infallible {
        let started = Instant::now();
        self.enter(Phase::Asking);
        for (phase, after) in times(timeout) {
            sleep_until(started + after).await;
            self.enter(phase);
        }
        pending().await
    }

    /// Waits until idle connections are to be closed. Ready only in a task that is polled by
    /// another cause: the worker wakes all its connections while the daemon ends.
    pub(super) async fn closes_idle(&self) {
        poll_fn(|_| if self.phase() >= Phase::Closing { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    /// Notes that a connection is still open, and why.
    pub(super) fn remains(&self, id: u64, entry: Entry) {
        self.remaining.lock().insert(id, entry);
    }

    /// Notes that a connection has ended.
    pub(super) fn ended(&self, id: u64) {
        self.remaining.lock().remove(&id);
    }

    /// The number of connections that are still open, by reason. Empty while the daemon serves.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Remaining, u64> {
        let mut counts = BTreeMap::new();
        if self.has_begun() {
            counts.extend(Remaining::ALL.map(|why| (why, 0)));
            for entry in self.remaining.lock().values() {
                *counts.entry(entry.why).or_default() += 1;
            }
        }
        counts
    }

    /// The connections that are still open, by their number in the logs; at most `limit`.
    #[must_use]
    pub fn remaining(&self, limit: usize) -> Vec<(u64, Entry)> {
        let remaining = self.remaining.lock();
        let mut open: Vec<_> = remaining.iter().map(|(id, entry)| (*id, entry.clone())).collect();
        open.sort_unstable_by_key(|(id, _)| *id);
        open.truncate(limit);
        open
    }
}

/// Finds a pause behind bytes of the server, on a connection whose messages the relay does not
/// know.
#[derive(Debug, Default)]
pub(super) struct Pause {
    /// The bytes from the client and from the server, and since when there are no more of them.
    seen: Option<([u64; 2], Instant)>,
    is_servers_turn: bool,
}

// === impl Pause ===

impl Pause {
    /// Whether the connection pauses at `now`. `up` and `down` are the bytes that have passed so
    /// far, from the client and from the server.
    pub(super) fn is_at(&mut self, now: Instant, up: u64, down: u64) -> bool {
        match self.seen {
            Some(([seen_up, seen_down], since)) if seen_up == up && seen_down == down => {
                self.is_servers_turn && now - since >= PAUSE
            }
            seen => {
                let before = seen.map_or([up, 0], |(bytes, _)| bytes);
                // Between two looks both may have sent. A request waits for its response then.
                self.is_servers_turn = before[0] == up && before[1] < down;
                self.seen = Some(([up, down], now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future as _, pin::pin};

    use super::*;

    #[test]
    fn the_phases_fit_into_any_time() {
        for (timeout, closing, last) in
            [(20_000, 1_000, 18_000), (2_000, 500, 1_500), (4, 1, 3), (0, 0, 0)]
        {
            let ms = Duration::from_millis;
            let expected = [(Phase::Closing, ms(closing)), (Phase::Last, ms(last))];
            assert_eq!(times(ms(timeout)), expected);
        }
    }

    #[tokio::test]
    async fn idle_connections_are_closed_after_the_first_phase() {
        let farewell = Farewell::default();
        for phase in [Phase::Serving, Phase::Asking, Phase::Closing, Phase::Last] {
            farewell.enter(phase);
            assert_eq!(farewell.phase(), phase);
            assert_eq!(farewell.has_begun(), phase != Phase::Serving);
            let mut closes = pin!(farewell.closes_idle());
            let is_ready = poll_fn(|cx| Poll::Ready(closes.as_mut().poll(cx).is_ready())).await;
            assert_eq!(is_ready, phase >= Phase::Closing, "{phase:?}");
        }
    }

    #[test]
    fn a_pause_is_one_behind_bytes_of_the_server() {
        // Each with whether there is a pause at that moment, in PAUSEs, behind these bytes.
        let looks = |looks: &[(u32, u64, u64, bool)]| {
            let (mut pause, started) = (Pause::default(), Instant::now());
            for &(at, up, down, expected) in looks {
                let is_pause = pause.is_at(started + at * PAUSE / 2, up, down);
                assert_eq!(is_pause, expected, "at {at}: {up} up, {down} down");
            }
        };
        // Too short, long enough, and again the client's turn.
        looks(&[(0, 10, 100, false), (1, 10, 200, false), (2, 10, 200, false)]);
        looks(&[(0, 10, 100, false), (1, 10, 200, false), (3, 10, 200, true), (4, 20, 200, false)]);
        // A response is due, or may be.
        looks(&[(0, 10, 100, false), (1, 20, 100, false), (9, 20, 100, false)]);
        looks(&[(0, 10, 100, false), (1, 20, 200, false), (9, 20, 200, false)]);
        // The server owes its first bytes, or has sent some before the first look.
        looks(&[(0, 0, 0, false), (9, 0, 0, false)]);
        looks(&[(0, 10, 100, false), (2, 10, 100, true)]);
    }
}
