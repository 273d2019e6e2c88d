//! What each rule counts, and the line of the access log.

use std::io;

use super::*;
use crate::{
    config::annotation::AnnotationKey,
    relay::{
        filter::Filter,
        observe::{Counters, Observer as _, ResponseClock},
        route::Withdrawn,
        stats::{FellBack, Refused},
        target::{Addresses, Target},
    },
};

fn route(target: &str) -> Arc<Route> {
    Arc::new(Route {
        annotation: AnnotationKey::redirect(),
        filter: Filter::all(),
        target: Target::new(target, Addresses::Unresolved),
        proxy_protocol: None,
        local: interceptor_rule::Local::default(),
        stats: Arc::default(),
        expires_at: None,
        withdrawn: Withdrawn::default(),
    })
}

fn open(routes: &[Arc<Route>]) -> ConnRecord {
    let client = ClientAddr(([192, 0, 2, 7], 40_000).into());
    ConnRecord::open(
        "web".into(),
        client,
        OrigDst(([192, 0, 2, 1], 8080).into()),
        routes,
        &Arc::default(),
    )
}

/// What `run` logs at debug level.
fn logged(run: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, run);
    String::from_utf8(std::mem::take(&mut log.0.lock())).expect("text")
}

#[test]
fn each_rule_counts_the_first_outcome_once() {
    let (first, second) = (route("a:1"), route("b:1"));
    let record = open(&[Arc::clone(&first), Arc::clone(&second)]);
    record.record_outcome(&second, Outcome::Redirected);
    record.record_outcome(&second, Outcome::FellBack(FellBack::TargetRefused));
    record.record_all(Outcome::Refused(Refused::AppRefused));
    drop(record);
    assert_eq!(first.stats.get(Outcome::Refused(Refused::AppRefused)), 1);
    assert_eq!(second.stats.get(Outcome::Redirected), 1);
    let total = |route: &Route| Outcome::ALL.map(|outcome| route.stats.get(outcome)).iter().sum();
    let totals: [u64; 2] = [total(&first), total(&second)];
    assert_eq!(totals, [1, 1]);
}

#[test]
fn the_access_log_has_one_line_for_a_connection_when_it_is_complete() {
    let (first, second) = (route("a:1"), route("b:1"));
    let log = logged(|| {
        let record = open(&[Arc::clone(&first), Arc::clone(&second)]);
        let observer = Counters::of_target(record.traffic(), &second);
        for _ in 0..2 {
            observer.head(Direction::Up, &mut ResponseClock::default());
        }
        observer.bytes(Direction::Up, b"question");
        observer.bytes(Direction::Down, b"ok");
        record.record_outcome(&second, Outcome::Redirected);
    });
    assert_eq!(log.lines().count(), 1, "{log}");
    for field in [
        "access: connection complete connection=",
        "workload=web",
        "client=192.0.2.7:40000",
        "destination=192.0.2.1:8080",
        "port=8080",
        "rule=debug.redirect",
        "target=b:1",
        "outcome=\"redirected\" reason=\"\"",
        "bytes_from_client=8 bytes_to_client=2 requests=2 seconds=",
    ] {
        assert!(log.contains(field), "no {field} in {log}");
    }
}

#[test]
fn the_access_log_names_no_rule_for_a_connection_that_none_took() {
    let log = logged(|| drop(open(&[route("a:1")])));
    assert!(log.contains("outcome=\"passed\" reason=\"not_matched\""), "{log}");
    assert!(!log.contains("rule=") && !log.contains("target="), "{log}");
    // Nor for a port that has been given back.
    let log = logged(|| open(&[]).record_all(Outcome::Passed(Passed::RuleRemoved)));
    assert!(log.contains("outcome=\"passed\" reason=\"rule_removed\""), "{log}");
}
