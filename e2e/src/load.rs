//! A constant load: calls on new connections, and the outcome of each.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;
use testbed::{Call, Load, Protocol, Report, RunningLoad};

use crate::{Killed, TIMEOUT, laptop};

/// A load from the laptop, outside of the cluster. Dropping it stops it.
#[derive(Debug)]
pub struct LaptopLoad(RunningLoad);

impl LaptopLoad {
    /// Starts two threads, each of which calls the addresses in turn, every 5 ms.
    pub(crate) fn start(to: &[SocketAddr]) -> Result<Self> {
        let load = Load::entering(laptop::enter, to).protocol(Protocol::Http);
        load.threads(2).interval(Duration::from_millis(5)).start().map(Self)
    }

    /// Waits until the server `tag` answers a call that starts from now on.
    pub fn wait_for(&self, tag: &str) -> Result<()> {
        self.0.wait_for_tag(tag, TIMEOUT).map(drop)
    }

    /// Waits until `count` further calls have ended, whatever their outcome.
    pub fn wait_for_calls(&self, count: usize) -> Result<()> {
        self.0.wait_for_calls(count, TIMEOUT)
    }

    /// All calls so far.
    pub fn so_far(&self) -> Calls {
        Calls(self.0.report())
    }

    /// Waits for the calls in progress, stops, and returns all calls.
    pub fn stop(self) -> Calls {
        Calls(self.0.stop())
    }
}

/// The outcomes of calls.
#[derive(Clone, Debug)]
pub struct Calls(Report);

impl Calls {
    /// The number of calls.
    pub fn len(&self) -> usize {
        self.0.calls.len()
    }

    /// Whether there were no calls.
    pub fn is_empty(&self) -> bool {
        self.0.calls.is_empty()
    }

    /// The number of calls that the server `tag` answered.
    pub fn by(&self, tag: &str) -> usize {
        self.0.count(tag)
    }

    /// The number of calls that each server answered.
    pub fn answers(&self) -> BTreeMap<&str, usize> {
        self.0.by_tag()
    }

    /// Only the calls that started at `then` or later.
    pub fn since(&self, then: Instant) -> Self {
        Self(self.0.since(then))
    }

    /// The calls that failed.
    pub fn failures(&self) -> Vec<&Call> {
        self.0.failures()
    }

    /// The longest duration of a call.
    pub fn longest(&self) -> Duration {
        self.0.longest()
    }

    /// The start of the first call that the server `tag` answered.
    pub fn first_by(&self, tag: &str) -> Option<Instant> {
        self.0.calls.iter().filter(|call| call.tag() == Some(tag)).map(|call| call.started).min()
    }

    /// The longest time during which `tag` answered no call: from the start of the first such call
    /// to the start of the next call that `tag` answered.
    pub fn longest_without(&self, tag: &str) -> Duration {
        let (mut longest, mut since) = (Duration::ZERO, None);
        for call in &self.0.calls {
            match (call.tag() == Some(tag), since) {
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

    /// Asserts that each failed call had started before the daemon was dead, and ended after it was
    /// killed: the daemon carried it.
    ///
    /// # Panics
    /// If another call failed.
    pub fn assert_broken_only_by(&self, killed: &Killed) {
        for call in self.failures() {
            assert!(
                call.started <= killed.dead && call.started + call.duration >= killed.killed,
                "{call}; all: {self}"
            );
        }
    }

    /// Asserts that there were calls and that none failed.
    ///
    /// # Panics
    /// If a call failed, or if there was none.
    pub fn assert_none_failed(&self) {
        assert!(!self.is_empty(), "there was no call");
        assert!(self.failures().is_empty(), "{self}");
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
