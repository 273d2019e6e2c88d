//! A constant load: calls on new connections, one after the other, and a record of what became of each.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;
use testbed::{Call, Load, Protocol, Report, RunningLoad};

use crate::{TIMEOUT, laptop};

/// Callers at work, outside of the cluster: on the laptop. They stop when this is dropped.
#[derive(Debug)]
pub struct LaptopLoad(RunningLoad);

impl LaptopLoad {
    /// Two threads that call each of the addresses in turn, every 5 ms.
    pub(crate) fn start(to: &[SocketAddr]) -> Result<Self> {
        let caller = Load::entering(laptop::enter, to).protocol(Protocol::Http);
        caller.threads(2).interval(Duration::from_millis(5)).start().map(Self)
    }

    /// Waits until a call that begins from now on is answered by somebody of this name.
    pub fn wait_for(&self, who: &str) -> Result<()> {
        self.0.wait_for_tag(who, TIMEOUT).map(drop)
    }

    /// Waits until this many further calls ended, well or not.
    pub fn wait_for_calls(&self, count: usize) -> Result<()> {
        self.0.wait_for_calls(count, TIMEOUT)
    }

    /// All calls so far.
    pub fn so_far(&self) -> Calls {
        Calls(self.0.report())
    }

    /// Lets the calls under way end, and gives all of them.
    pub fn stop(self) -> Calls {
        Calls(self.0.stop())
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

    /// When the first call began that somebody of this name answered.
    pub fn first_by(&self, who: &str) -> Option<Instant> {
        self.0.calls.iter().filter(|call| call.tag() == Some(who)).map(|call| call.started).min()
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

    /// Only those may have failed that a daemon carried which was being killed from `killed` to `dead`: begun before its end,
    /// broken by it.
    ///
    /// # Panics
    /// When another one failed.
    pub fn assert_broken_only_by_its_end(&self, killed: Instant, dead: Instant) {
        for call in self.failures() {
            assert!(
                call.started <= dead && call.started + call.duration >= killed,
                "{call}; all: {self}"
            );
        }
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
