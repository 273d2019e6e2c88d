//! Watches of an API server that fails and recovers.

use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::time::timeout;

use super::{outage::Outage, *};
use crate::{
    config::policy::Policy,
    kubernetes::fake::{client, status},
};

/// Maximum time for anything here.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a watch of pods until it lists them for a second time. Returns the verb and the time of
/// each request.
///
/// The API server fails three times before it answers a list, and three times before it accepts a
/// watch. Then it reports that the resource version has expired.
async fn until_listed_again() -> Vec<(String, Instant)> {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&requests);
    let (client, _) = client(move |request, before| {
        let verb = request.split(' ').next().unwrap_or_default().to_owned();
        let answer = match (verb.as_str(), before) {
            ("GET", ..3) => (503, status(503, "ServiceUnavailable")),
            ("WATCH", ..3) => (500, status(500, "InternalError")),
            ("WATCH", _) => (200, json!({ "type": "ERROR", "object": status(410, "Expired") })),
            _ => (200, json!({ "metadata": { "resourceVersion": "7" }, "items": [] })),
        };
        log.lock().push((verb, Instant::now()));
        answer
    });
    let (store, errors) =
        (Arc::new(Store::new(Arc::new(Policy::default()), None)), Arc::<WatchErrors>::default());
    let (listed, mut lists) = tokio::sync::mpsc::unbounded_channel();
    let watch = watch_pods(client, "here".to_owned(), store, Arc::clone(&errors), move |_| {
        let _ = listed.send(());
    });
    tokio::select! {
        () = watch => {}
        listed = timeout(TIMEOUT, async { (lists.recv().await, lists.recv().await) }) => {
            listed.expect("the second list");
        }
    }
    assert_eq!(errors.count(), 3 + 3 + 1);
    requests.lock().clone()
}

#[tokio::test]
async fn failures_are_retried_with_growing_pauses_and_an_expired_watch_at_once() {
    let requests = until_listed_again().await;
    let verbs: Vec<_> = requests.iter().map(|(verb, _)| verb.as_str()).collect();
    assert_eq!(verbs, ["GET", "GET", "GET", "GET", "WATCH", "WATCH", "WATCH", "WATCH", "GET"]);
    let between = |from: usize, to: usize| requests[to].1 - requests[from].1;
    // The pauses are 125, 250 and 500 ms, or up to twice as long.
    let least = Duration::from_millis(125 + 250 + 500);
    assert!(between(0, 3) >= least && between(4, 7) >= least, "{requests:?}");
    assert!(between(7, 8) < Duration::from_millis(900), "{:?}", between(7, 8));
}

#[tokio::test]
async fn watches_that_end_at_once_are_restarted_after_a_pause() {
    let (client, requests) = client(|request, _| match request.split(' ').next() {
        Some("WATCH") => (200, json!("")),
        _ => (200, json!({ "metadata": { "resourceVersion": "7" }, "items": [] })),
    });
    let (store, errors) =
        (Arc::new(Store::new(Arc::new(Policy::default()), None)), Arc::<WatchErrors>::default());
    let watch = watch_pods(client, "here".to_owned(), store, errors, |_| {});
    let _ = timeout(MIN_INTERVAL * 5 / 2, watch).await;
    let requests = requests.all();
    let watches = requests.iter().filter(|request| request.starts_with("WATCH")).count();
    assert!((1..=3).contains(&watches), "{watches}");
}

#[tokio::test]
async fn the_log_says_that_a_watch_broke_and_that_it_is_back() {
    let log = Log::default();
    let _guard = log.capture();
    until_listed_again().await;
    let lines = log.lines();
    assert!(
        lines[0].contains("WARN") && lines[0].contains("the watch of pods broke and is retried;"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("INFO") && lines[1].contains("the watch of pods is back away="),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn the_log_reports_an_outage_at_once_and_then_every_minute() {
    let log = Log::default();
    let _guard = log.capture();
    let begin = Instant::now();
    let mut outage = Outage::new("pods");
    for second in 0..130 {
        outage.failed(&watcher::Error::NoResourceVersion, begin + Duration::from_secs(second));
    }
    outage.accepted(begin + Duration::from_secs(130));
    let lines = log.lines();
    let has = |line: &str, words: [&str; 3]| words.iter().all(|word| line.contains(word));
    let first = ["WARN", "the watch of pods broke and is retried;", "no metadata.resourceVersion"];
    assert!(has(&lines[0], first), "{lines:?}");
    assert!(has(&lines[1], ["WARN", "still broken", "away=60.0s"]), "{lines:?}");
    assert!(has(&lines[2], ["WARN", "still broken", "away=120.0s"]), "{lines:?}");
    assert!(has(&lines[3], ["INFO", "is back", "away=130.0s"]), "{lines:?}");
    assert_eq!(lines.len(), 4, "{lines:?}");
}

/// The log, from the level `info` on.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures the log of this thread until the guard is dropped.
    fn capture(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_writer(move || log.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    /// The lines that the watch logged.
    fn lines(&self) -> Vec<String> {
        let written = self.0.lock();
        let written = String::from_utf8_lossy(&written);
        written
            .lines()
            .filter(|line| line.contains("kubernetes::watch"))
            .map(str::to_owned)
            .collect()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
