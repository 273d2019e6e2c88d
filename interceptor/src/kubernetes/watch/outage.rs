//! A broken watch: when it is retried, and what the log says meanwhile.

use std::{
    error::Error as _,
    time::{Duration, Instant},
};

use kube::runtime::watcher::Error;

use crate::backoff::Backoff;

/// The pauses before a broken watch is retried. The return of the API server is noticed within the
/// longest of them. Every node retries then, so the pauses are spread at random.
const RETRY: Backoff =
    Backoff::new(Duration::from_millis(250), Duration::from_secs(5)).with_jitter();
/// A failure this long after the one before starts with the first pause again.
const CALM: Duration = Duration::from_secs(60);
/// The time between two warnings while the watch stays broken.
const REMINDER: Duration = Duration::from_secs(60);
/// The status code `Gone`: the watch started from a resource version that is too old. That happens
/// after a restart of the API server, and on watches of objects that seldom change.
const EXPIRED: u16 = 410;

/// The failures of one watch.
#[derive(Debug)]
pub(super) struct Outage {
    /// The resource that the watch is about.
    resource: &'static str,
    /// Set while the watch is broken.
    broken: Option<Broken>,
    /// The failures in a row of one kind.
    row: Option<Row>,
}

#[derive(Debug)]
struct Broken {
    since: Instant,
    /// The last warning in the log.
    warned: Instant,
}

#[derive(Debug)]
struct Row {
    /// The status code of the API server's answer; `None` without an answer.
    code: Option<u16>,
    retry: Backoff,
    last: Instant,
}

// === impl Outage ===

impl Outage {
    /// A watch that has not failed yet.
    pub(super) fn new(resource: &'static str) -> Self {
        Self { resource, broken: None, row: None }
    }

    /// Notes a failure. Returns the pause before the next attempt.
    pub(super) fn failed(&mut self, error: &Error, now: Instant) -> Duration {
        let code = code(error);
        self.log(error, code, now);
        // Another answer than before is progress: the API server may be ready soon.
        let same = self.row.take().filter(|row| row.code == code && now < row.last + CALM);
        let mut retry = same.map_or(RETRY, |row| row.retry);
        let pause = retry.failed();
        self.row = Some(Row { code, retry, last: now });
        pause
    }

    /// Notes that the API server accepted the watch.
    pub(super) fn accepted(&mut self, now: Instant) {
        if let Some(Broken { since, .. }) = self.broken.take() {
            tracing::info!(away = %seconds(now - since), "the watch of {} is back", self.resource);
        }
    }

    fn log(&mut self, error: &Error, code: Option<u16>, now: Instant) {
        let resource = self.resource;
        let error = with_cause(error);
        match &mut self.broken {
            None if code == Some(EXPIRED) => {
                tracing::debug!(error, "the watch of {resource} has expired and starts again");
            }
            None => {
                tracing::warn!(
                    error,
                    "the watch of {resource} broke and is retried; all rules stay as they are"
                );
                self.broken = Some(Broken { since: now, warned: now });
            }
            Some(broken) if now >= broken.warned + REMINDER => {
                let away = seconds(now - broken.since);
                tracing::warn!(error, %away, "the watch of {resource} is still broken");
                broken.warned = now;
            }
            Some(_) => tracing::debug!(error, "the watch of {resource} broke again"),
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

/// The status code of the API server's answer; `None` without an answer.
fn code(error: &Error) -> Option<u16> {
    let status = match error {
        Error::WatchError(status) => status,
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status)) => status,
        _ => return None,
    };
    Some(status.code)
}

/// The error with its deepest cause, such as "Connection refused", which its own message leaves
/// out.
fn with_cause(error: &Error) -> String {
    let message = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    match cause.map(ToString::to_string) {
        Some(cause) if !message.contains(&cause) => format!("{message}: {cause}"),
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_RETRY: Duration = Duration::from_millis(250);
    const SLOWEST_RETRY: Duration = Duration::from_secs(5);

    /// The pauses after `count` failures with the same error, one after the other.
    fn pauses(
        outage: &mut Outage,
        now: &mut Instant,
        error: &Error,
        count: usize,
    ) -> Vec<Duration> {
        let pauses = (0..count).map(|_| {
            let pause = outage.failed(error, *now);
            *now += pause;
            pause
        });
        pauses.collect()
    }

    fn answered(code: u16) -> Error {
        let mut status = kube::core::Status::failure("no", "No");
        status.code = code;
        Error::WatchStartFailed(kube::Error::Api(status.boxed()))
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        let (mut outage, mut now) = (Outage::new("pods"), Instant::now());
        let pauses = pauses(&mut outage, &mut now, &Error::NoResourceVersion, 40);
        assert!(pauses[0] <= FIRST_RETRY && pauses[1] <= FIRST_RETRY * 2, "{pauses:?}");
        let slowest = SLOWEST_RETRY / 2..=SLOWEST_RETRY;
        assert!(pauses[5..].iter().all(|pause| slowest.contains(pause)), "{pauses:?}");
    }

    #[test]
    fn another_answer_resets_the_pause_and_the_same_one_doubles_it() {
        let (mut outage, mut now) = (Outage::new("pods"), Instant::now());
        pauses(&mut outage, &mut now, &Error::NoResourceVersion, 10);
        for code in [503, 403, EXPIRED] {
            let pauses = pauses(&mut outage, &mut now, &answered(code), 10);
            assert!(
                pauses[0] <= FIRST_RETRY && pauses[9] >= SLOWEST_RETRY / 2,
                "{code}: {pauses:?}"
            );
        }
        now += CALM;
        let later = outage.failed(&answered(EXPIRED), now);
        assert!(later <= FIRST_RETRY, "{later:?}");
    }
}
