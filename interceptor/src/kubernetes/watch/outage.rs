//! A watch that broke: when it is begun again, and what the log says meanwhile.

use std::{
    error::Error as _,
    time::{Duration, Instant},
};

use kube::runtime::watcher::Error;

use crate::backoff::Backoff;

/// The delays before a watch that broke is begun again. An API server that is back is noticed within the longest of them; the
/// daemons of all nodes ask again then, so each waits a time of its own.
const RETRY: Backoff =
    Backoff::new(Duration::from_millis(250), Duration::from_secs(5)).with_jitter();
/// A failure this long after the one before is a new one.
const CALM: Duration = Duration::from_secs(60);
/// While it lasts, the log says so this often.
const REMINDER: Duration = Duration::from_secs(60);
/// What was watched from is too old: a restarted API server, or a watch of things that seldom change.
const EXPIRED: u16 = 410;

/// The troubles of one watch.
#[derive(Debug)]
pub(super) struct Outage {
    /// What is watched.
    what: &'static str,
    /// Since when nothing is heard, and when the log last said so.
    away: Option<(Instant, Instant)>,
    /// Failures of one kind in a row.
    row: Option<Row>,
}

#[derive(Debug)]
struct Row {
    /// What the API server answers; nothing if it does not.
    code: Option<u16>,
    retry: Backoff,
    last: Instant,
}

// === impl Outage ===

impl Outage {
    /// None so far.
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, away: None, row: None }
    }

    /// It broke. Gives how long to wait before it is begun again.
    pub(super) fn broke(&mut self, error: &Error, now: Instant) -> Duration {
        let code = code(error);
        self.log(error, code, now);
        // Another answer than before means that something moves: a server that begins to answer is soon of use.
        let same = self.row.take().filter(|row| row.code == code && now < row.last + CALM);
        let mut retry = same.map_or(RETRY, |row| row.retry);
        let pause = retry.failed();
        self.row = Some(Row { code, retry, last: now });
        pause
    }

    /// The API server has accepted it.
    pub(super) fn is_over(&mut self, now: Instant) {
        if let Some((since, _)) = self.away.take() {
            tracing::info!(away = %seconds(now - since), "the watch of {} is back", self.what);
        }
    }

    fn log(&mut self, error: &Error, code: Option<u16>, now: Instant) {
        let what = self.what;
        let error = with_cause(error);
        match &mut self.away {
            None if code == Some(EXPIRED) => {
                tracing::debug!(error, "the watch of {what} begins anew")
            }
            None => {
                tracing::warn!(
                    error,
                    "the watch of {what} broke; what is in force stays in force while it is tried again"
                );
                self.away = Some((now, now));
            }
            Some((since, said)) if now >= *said + REMINDER => {
                tracing::warn!(error, away = %seconds(now - *since), "the watch of {what} is still broken");
                *said = now;
            }
            Some(_) => tracing::debug!(error, "the watch of {what} broke again"),
        }
    }
}

/// To a tenth, which is all that anybody wants to read.
fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

/// What the API server answered; nothing if it did not.
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

/// An error with what is at the bottom of it, such as "Connection refused", which its own words leave out.
fn with_cause(error: &Error) -> String {
    let said = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    match cause.map(ToString::to_string) {
        Some(cause) if !said.contains(&cause) => format!("{said}: {cause}"),
        _ => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_RETRY: Duration = Duration::from_millis(250);
    const SLOWEST_RETRY: Duration = Duration::from_secs(5);

    /// The pauses if the watch breaks in that way so often, one after the other.
    fn pauses(
        outage: &mut Outage,
        now: &mut Instant,
        error: &Error,
        count: usize,
    ) -> Vec<Duration> {
        let pauses = (0..count).map(|_| {
            let pause = outage.broke(error, *now);
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
    fn another_answer_is_followed_up_at_once_and_the_same_one_later_and_later() {
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
        let later = outage.broke(&answered(EXPIRED), now);
        assert!(later <= FIRST_RETRY, "{later:?}");
    }
}
