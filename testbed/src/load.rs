//! A load: calls on new connections, one after the other in each thread, and the outcome of each.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use parking_lot::{Mutex, MutexGuard};

use crate::{Answer, Connection, Namespace, Protocol, wait_until};

/// A load that has not started; [`start`](Self::start) starts it.
#[derive(Clone, Debug)]
pub struct Load {
    origin: Origin,
    to: Vec<SocketAddr>,
    protocol: Protocol,
    threads: usize,
    interval: Duration,
}

/// Where the calls come from.
#[derive(Clone, Debug)]
enum Origin {
    Namespace(Namespace),
    /// Another namespace; the function moves its thread there.
    Entered(fn() -> Result<()>),
}

impl Load {
    /// One thread that sends a line every 2 ms.
    pub fn new(netns: &Namespace, to: impl Into<SocketAddr>) -> Self {
        Self::from(Origin::Namespace(netns.clone()), vec![to.into()])
    }

    /// As [`new`](Self::new), from a namespace outside of any topology: `enter` moves each thread
    /// of the load there. Each thread calls the addresses in turn.
    pub fn entering(enter: fn() -> Result<()>, to: &[SocketAddr]) -> Self {
        Self::from(Origin::Entered(enter), to.to_vec())
    }

    fn from(origin: Origin, to: Vec<SocketAddr>) -> Self {
        Self {
            origin,
            to,
            protocol: Protocol::Line,
            threads: 1,
            interval: Duration::from_millis(2),
        }
    }

    /// The protocol of each call.
    pub fn protocol(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    /// The number of threads that call at the same time.
    pub fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// The time from the start of one call to the start of the next, in each thread. A call that
    /// takes longer delays the next one.
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// Starts the threads.
    pub fn start(self) -> Result<RunningLoad> {
        let shared = Arc::new(Shared::default());
        let threads = (0..self.threads)
            .map(|number| {
                let (load, shared) = (self.clone(), shared.clone());
                thread::Builder::new()
                    .name(format!("load {number}"))
                    .spawn(move || load.work(&shared))
            })
            .collect::<std::io::Result<_>>()
            .context("start a thread of the load")?;
        Ok(RunningLoad { shared, threads })
    }

    fn work(&self, shared: &Shared) {
        let entered = match &self.origin {
            Origin::Namespace(netns) => netns.enter(),
            Origin::Entered(enter) => enter(),
        };
        if let Err(error) = entered {
            let failed = Call {
                started: Instant::now(),
                duration: Duration::ZERO,
                outcome: Err(format!("{error:#}")),
            };
            shared.calls().push(failed);
            return;
        }
        let mut next = Instant::now();
        for to in self.to.iter().cycle() {
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            let started = Instant::now();
            let answer = Connection::open_here(*to, self.protocol)
                .and_then(|mut connection| connection.ask());
            let duration = started.elapsed();
            let outcome = answer.map_err(|error| format!("{to}: {error}"));
            shared.calls().push(Call { started, duration, outcome });
            next = (next + self.interval).max(Instant::now());
            thread::sleep(next - Instant::now());
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    calls: Mutex<Vec<Call>>,
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock()
    }
}

/// A load that is running; dropping it stops it.
#[derive(Debug)]
pub struct RunningLoad {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl RunningLoad {
    /// All calls so far.
    pub fn report(&self) -> Report {
        let mut calls = self.shared.calls().clone();
        calls.sort_by_key(|call| call.started);
        Report { calls }
    }

    /// Waits until `tag` answers a call that starts from now on, and returns when that call
    /// started.
    pub fn wait_for_tag(&self, tag: &str, timeout: Duration) -> Result<Instant> {
        let now = Instant::now();
        wait_until(&format!("an answer by {tag:?}"), timeout, || {
            let calls = self.shared.calls();
            let recent = || calls.iter().rev().take_while(|call| call.started >= now);
            let found = recent().find(|call| call.tag() == Some(tag)).map(|call| call.started);
            found.ok_or_else(|| {
                recent().next().map_or_else(|| anyhow!("no call ended"), |call| anyhow!("{call}"))
            })
        })
    }

    /// Waits until `count` further calls have ended, whatever their outcome.
    pub fn wait_for_calls(&self, count: usize, timeout: Duration) -> Result<()> {
        let goal = self.shared.calls().len() + count;
        wait_until(&format!("{count} calls"), timeout, || self.shared.calls().len() >= goal)
    }

    /// Waits for the calls in progress, stops, and returns all calls.
    pub fn stop(mut self) -> Report {
        self.join();
        self.report()
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        self.join();
    }
}

/// One call and its outcome.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it started, before connecting.
    pub started: Instant,
    /// The time until the answer was complete, or until the failure.
    pub duration: Duration,
    /// The answer, or the error.
    pub outcome: Result<Answer, String>,
}

impl Call {
    /// The name of the server that answered; `None` for a failure.
    pub fn tag(&self) -> Option<&str> {
        self.outcome.as_ref().ok().map(|answer| answer.tag.as_str())
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Ok(answer) => write!(f, "{} answered after {:?}", answer.tag, self.duration),
            Err(error) => write!(f, "failed after {:?}: {error}", self.duration),
        }
    }
}

/// All calls of a load, in the order in which they started.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Each call.
    pub calls: Vec<Call>,
}

impl Report {
    /// The number of calls that each server answered.
    pub fn by_tag(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for tag in self.calls.iter().filter_map(Call::tag) {
            *counts.entry(tag).or_default() += 1;
        }
        counts
    }

    /// The number of calls that the server `tag` answered.
    pub fn count(&self, tag: &str) -> usize {
        self.calls.iter().filter(|call| call.tag() == Some(tag)).count()
    }

    /// The calls that got no answer.
    pub fn failures(&self) -> Vec<&Call> {
        self.calls.iter().filter(|call| call.outcome.is_err()).collect()
    }

    /// The calls that started after `then` and got no answer.
    pub fn failures_after(&self, then: Instant) -> Vec<&Call> {
        self.failures().into_iter().filter(|call| call.started > then).collect()
    }

    /// Only the calls that started at `then` or later.
    pub fn since(&self, then: Instant) -> Self {
        Self { calls: self.calls.iter().filter(|call| call.started >= then).cloned().collect() }
    }

    /// Only the calls that started at `from` or later, and before `to`.
    pub fn between(&self, from: Instant, to: Instant) -> Self {
        let mut report = self.since(from);
        report.calls.retain(|call| call.started < to);
        report
    }

    /// The longest duration of a call, failed ones included.
    pub fn longest(&self) -> Duration {
        self.calls.iter().map(|call| call.duration).max().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures = self.failures();
        write!(f, "{} calls, longest {:.1?}", self.calls.len(), self.longest())?;
        for (tag, count) in self.by_tag() {
            write!(f, ", {count} answered by {tag}")?;
        }
        write!(f, ", {} failed", failures.len())?;
        let begin = self.calls.first().map(|call| call.started);
        for (call, begin) in failures.iter().zip(begin.into_iter().cycle()).take(5) {
            write!(f, "\n  at {:.3?}: {call}", call.started - begin)?;
        }
        Ok(())
    }
}
