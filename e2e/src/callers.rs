//! A constant load: calls on new connections, one after the other, and a record of what became of each.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use testbed::{Call, Connection, Question, Report, wait_until};

use crate::{SOON, laptop};

/// Callers at work, outside of the cluster: on the laptop. They stop when this is dropped.
#[derive(Debug)]
pub struct RunningCallers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    calls: Mutex<Vec<Call>>,
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunningCallers {
    /// Two threads that call each of the addresses in turn, every 5 ms.
    pub(crate) fn start(to: &[SocketAddr]) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let threads = (0..2)
            .map(|number| {
                let (to, shared) = (to.to_vec(), shared.clone());
                thread::Builder::new().name(format!("caller {number}")).spawn(move || work(&to, &shared))
            })
            .collect::<std::io::Result<_>>()
            .context("start a caller")?;
        Ok(Self { shared, threads })
    }

    /// Waits until a call that begins from now on is answered by somebody of this name.
    pub fn wait_for(&self, who: &str) -> Result<()> {
        self.wait_for_any(&format!("an answer by {who:?}"), |call| call.tag() == Some(who))
    }

    /// Waits until a call that begins from now on is as wanted.
    pub fn wait_for_any(&self, what: &str, wanted: impl Fn(&Call) -> bool) -> Result<()> {
        let now = Instant::now();
        wait_until(what, SOON, || {
            let calls = self.shared.calls();
            let recent = || calls.iter().rev().take_while(|call| call.started >= now);
            if recent().any(&wanted) {
                return Ok(());
            }
            Err(recent().next().map_or_else(|| anyhow!("no call ended"), |call| anyhow!("{call}")))
        })
    }

    /// Waits until this many further calls ended, well or not.
    pub fn wait_for_calls(&self, count: usize) -> Result<()> {
        let goal = self.shared.calls().len() + count;
        wait_until(&format!("{count} calls"), SOON, || self.shared.calls().len() >= goal)
    }

    /// All calls so far.
    pub fn so_far(&self) -> Calls {
        let mut calls = self.shared.calls().clone();
        calls.sort_by_key(|call| call.started);
        Calls(Report { calls })
    }

    /// Lets the calls under way end, and gives all of them.
    pub fn stop(mut self) -> Calls {
        self.join();
        self.so_far()
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for RunningCallers {
    fn drop(&mut self) {
        self.join();
    }
}

fn work(to: &[SocketAddr], shared: &Shared) {
    let place = laptop::enter();
    let mut next = Instant::now();
    for to in to.iter().cycle() {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let started = Instant::now();
        let answer = match &place {
            Ok(()) => Connection::open_here(*to, Question::Http).and_then(|mut connection| connection.ask()),
            Err(error) => Err(std::io::Error::other(format!("{error:#}"))),
        };
        let outcome = answer.map_err(|error| format!("{to}: {error}"));
        shared.calls().push(Call { started, duration: started.elapsed(), outcome });
        next = (next + Duration::from_millis(5)).max(Instant::now());
        thread::sleep(next - Instant::now());
    }
}

/// What became of calls.
#[derive(Clone, Debug)]
pub struct Calls(Report);

impl Calls {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.calls.len()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.0.calls.is_empty()
    }

    /// How many of them somebody of this name answered.
    pub fn by(&self, who: &str) -> usize {
        self.0.count(who)
    }

    /// Who answered, and how many.
    pub fn answers(&self) -> BTreeMap<&str, usize> {
        self.0.by_tag()
    }

    /// Only those that began from `then` on.
    pub fn since(&self, then: Instant) -> Self {
        Self(self.0.since(then))
    }

    /// Those that failed.
    pub fn failures(&self) -> Vec<&Call> {
        self.0.failures()
    }

    /// The longest that any of them took.
    pub fn longest(&self) -> Duration {
        self.0.longest()
    }

    /// How long somebody else than `who` answered, at most: from the begin of the first such call of a row to the begin of
    /// the next call that `who` answered.
    pub fn longest_without(&self, who: &str) -> Duration {
        let (mut longest, mut since) = (Duration::ZERO, None);
        for call in &self.0.calls {
            match (call.tag() == Some(who), since) {
                (false, None) => since = Some(call.started),
                (true, Some(begin)) => {
                    longest = longest.max(call.started - begin);
                    since = None;
                }
                _ => {}
            }
        }
        longest
    }

    /// # Panics
    /// When a call failed, or none was made.
    pub fn assert_none_failed(&self) {
        assert!(!self.is_empty(), "nobody called");
        assert!(self.failures().is_empty(), "{self}");
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
