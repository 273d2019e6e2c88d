//! A watch of an API server that comes and goes.

use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::time::timeout;

use super::{outage::Outage, *};
use crate::{
    config::policy::Policy,
    kubernetes::fake::{client, status},
};

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// An API server that fails three times before it gives a list, and again before it takes a watch; then it has forgotten
/// what was listed. Gives when it was asked for what, until it was asked for another list.
async fn until_listed_again() -> Vec<(String, Instant)> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let (client, _) = client(move |question, before| {
        let verb = question.split(' ').next().unwrap_or_default().to_owned();
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
        listed = timeout(PATIENCE, async { (lists.recv().await, lists.recv().await) }) => {
            listed.expect("it is listed again");
        }
    }
    assert_eq!(errors.count(), 3 + 3 + 1);
    asked.lock().clone()
}

#[tokio::test]
async fn failures_are_asked_after_later_and_later_and_what_is_forgotten_is_listed_at_once() {
    let asked = until_listed_again().await;
    let verbs: Vec<_> = asked.iter().map(|(verb, _)| verb.as_str()).collect();
    assert_eq!(verbs, ["GET", "GET", "GET", "GET", "WATCH", "WATCH", "WATCH", "WATCH", "GET"]);
    let between = |from: usize, to: usize| asked[to].1 - asked[from].1;
    // An eighth, a quarter, and half a second, and up to twice that.
    let least = Duration::from_millis(125 + 250 + 500);
    assert!(between(0, 3) >= least && between(4, 7) >= least, "{asked:?}");
    assert!(between(7, 8) < Duration::from_millis(900), "{:?}", between(7, 8));
}

#[tokio::test]
async fn watches_that_end_at_once_are_not_begun_again_and_again() {
    let (client, asked) = client(|question, _| match question.split(' ').next() {
        Some("WATCH") => (200, json!("")),
        _ => (200, json!({ "metadata": { "resourceVersion": "7" }, "items": [] })),
    });
    let (store, errors) =
        (Arc::new(Store::new(Arc::new(Policy::default()), None)), Arc::<WatchErrors>::default());
    let watch = watch_pods(client, "here".to_owned(), store, errors, |_| {});
    let _ = timeout(APART * 5 / 2, watch).await;
    let watches = asked.all().iter().filter(|question| question.starts_with("WATCH")).count();
    assert!((1..=3).contains(&watches), "{watches}");
}

#[tokio::test]
async fn the_log_tells_that_a_watch_is_back() {
    let log = Log::default();
    let _listening = log.listen();
    until_listed_again().await;
    let lines = log.lines();
    assert!(
        lines[0].contains("WARN") && lines[0].contains("the watch of pods broke;"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("INFO") && lines[1].contains("the watch of pods is back away="),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn the_log_tells_of_an_outage_at_once_and_then_each_minute() {
    let log = Log::default();
    let _listening = log.listen();
    let begin = Instant::now();
    let mut outage = Outage::new("pods");
    for second in 0..130 {
        outage.broke(&watcher::Error::NoResourceVersion, begin + Duration::from_secs(second));
    }
    outage.is_over(begin + Duration::from_secs(130));
    let lines = log.lines();
    let told = |line: &str, words: [&str; 3]| words.iter().all(|word| line.contains(word));
    assert!(
        told(&lines[0], ["WARN", "the watch of pods broke;", "no metadata.resourceVersion"]),
        "{lines:?}"
    );
    assert!(told(&lines[1], ["WARN", "still broken", "away=60.0s"]), "{lines:?}");
    assert!(told(&lines[2], ["WARN", "still broken", "away=120.0s"]), "{lines:?}");
    assert!(told(&lines[3], ["INFO", "is back", "away=130.0s"]), "{lines:?}");
    assert_eq!(lines.len(), 4, "{lines:?}");
}

/// What is logged, from the level `info` on.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Takes what this thread logs, until the guard is dropped.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_writer(move || log.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    /// The lines of the watch.
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
