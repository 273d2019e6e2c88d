//! What may be observed of a connection while its bytes pass through the relay.
//!
//! The pipe, HTTP/1 and HTTP/2 report to an [`Observer`], which [`Stolen`](super::stolen::Stolen)
//! hands out for the side that serves the client. [`Counters`] is the one in production: byte
//! counters and the clocks of first bytes. Tests record the bytes themselves.

#[cfg(test)]
pub mod testing;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{direction::Direction, route::Route};

/// Sees what passes between a client and the side that serves it.
///
/// A call must not block, and may not change or hold back anything: the bytes are on their way
/// already.
pub trait Observer {
    /// These bytes pass on, after all that were reported for this direction before.
    fn bytes(&self, direction: Direction, bytes: &[u8]);

    /// The head of a request (up), or the first head of its response (down), passes on.
    ///
    /// `clock` is that of the request. Connections that are not framed report no heads.
    fn head(&self, direction: Direction, clock: &mut ResponseClock);

    /// The FIN of this direction passes on: no bytes follow. A connection that is reset has no such
    /// end.
    fn end(&self, direction: Direction);
}

/// Measures the time from a request's head to the first head of its response, for the rule that was
/// asked first.
///
/// Runs from [`Observer::head`] for the request to the same for the response.
#[derive(Debug, Default)]
pub struct ResponseClock {
    rule: Option<Arc<Route>>,
    sent: Option<Instant>,
}

/// What passed on one connection, whoever served it. Written by the observers of the connection,
/// read for the access log.
#[derive(Debug, Default)]
pub struct Traffic {
    up: AtomicU64,
    down: AtomicU64,
    requests: AtomicU64,
}

/// Counts bytes and requests for the connection, and for the port's rule while its target serves
/// the client.
#[derive(Clone, Copy, Debug)]
pub struct Counters<'a> {
    traffic: &'a Traffic,
    target: Option<&'a Route>,
}

// === impl ResponseClock ===

impl ResponseClock {
    /// A clock that does not run yet. `rule` is the first one that was asked about the request, if
    /// any was.
    #[must_use]
    pub fn new(rule: Option<Arc<Route>>) -> Self {
        Self { rule, sent: None }
    }

    /// The rule whose latencies it measures, until it has done so.
    #[must_use]
    pub fn rule(&self) -> Option<&Arc<Route>> {
        self.rule.as_ref()
    }

    fn start(&mut self) {
        self.sent = self.rule.is_some().then(Instant::now);
    }

    /// The rule and the time to charge to it; nothing for a clock that has been stopped already.
    fn stop(&mut self) -> Option<(Arc<Route>, Duration)> {
        let elapsed = self.sent.take()?.elapsed();
        Some((self.rule.take()?, elapsed))
    }
}

// === impl Traffic ===

impl Traffic {
    /// Bytes that passed in this direction.
    #[must_use]
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.counter(direction).load(Ordering::Relaxed)
    }

    /// Requests that were sent on. Zero for a connection that was not framed.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn counter(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

// === impl Counters ===

impl<'a> Counters<'a> {
    /// Counts for a connection that the app serves.
    #[must_use]
    pub fn of_app(traffic: &'a Traffic) -> Self {
        Self { traffic, target: None }
    }

    /// Counts for a connection that the target of `route` serves.
    #[must_use]
    pub fn of_target(traffic: &'a Traffic, route: &'a Route) -> Self {
        Self { traffic, target: Some(route) }
    }
}

impl Observer for Counters<'_> {
    fn bytes(&self, direction: Direction, bytes: &[u8]) {
        let n = bytes.len() as u64;
        self.traffic.counter(direction).fetch_add(n, Ordering::Relaxed);
        if let Some(route) = self.target {
            route.stats.count_bytes(direction, n);
            if direction == Direction::Down {
                route.target.suspicion().answered();
            }
        }
    }

    fn head(&self, direction: Direction, clock: &mut ResponseClock) {
        match direction {
            Direction::Up => {
                self.traffic.requests.fetch_add(1, Ordering::Relaxed);
                clock.start();
            }
            Direction::Down => {
                if let Some((rule, elapsed)) = clock.stop() {
                    let seconds = match self.target {
                        Some(_) => &rule.stats.target_seconds,
                        None => &rule.stats.app_seconds,
                    };
                    seconds.observe(elapsed.as_secs_f64());
                }
            }
        }
    }

    fn end(&self, _: Direction) {}
}
