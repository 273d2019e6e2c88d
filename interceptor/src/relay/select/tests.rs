//! Which rule gets a request, and which one its latencies are charged to.

use std::time::Duration;

use interceptor_condition::Request;
use prometheus_client::{encoding::text, registry::Registry};

use super::*;
use crate::{
    config::annotation::AnnotationKey,
    relay::{
        direction::Direction,
        filter::Filter,
        observe::{Counters, Observer as _, Traffic},
        route::Withdrawn,
        stats::PortStats,
        target::{Addresses, Target},
    },
};

/// `GET /`
struct Get;

impl Request for Get {
    fn method(&self) -> &str {
        "GET"
    }

    fn path(&self) -> &str {
        "/"
    }

    fn host(&self) -> Option<&str> {
        None
    }

    fn scheme(&self) -> &str {
        "http"
    }

    fn protocol(&self) -> &str {
        "HTTP/2"
    }

    fn header_values<'a>(&'a self, _: &str, _: &mut dyn FnMut(&'a [u8])) {}
}

fn facts() -> Facts<'static> {
    Facts {
        source: ([192, 0, 2, 7], 40_000).into(),
        destination: ([192, 0, 2, 1], 80).into(),
        server_name: Some(""),
        request: Some(&Get),
    }
}

fn route(rule: &str, expires_at: Option<Instant>) -> Arc<Route> {
    let rule = &interceptor_rule::parse(rule).expect("a valid rule")[0];
    Arc::new(Route {
        annotation: AnnotationKey::redirect(),
        filter: Filter::of(rule),
        target: Target::new("a:1", Addresses::Unresolved),
        proxy_protocol: None,
        local: rule.local,
        stats: Arc::default(),
        expires_at,
        withdrawn: Withdrawn::default(),
    })
}

/// How many decisions and responses of the app were charged to a rule.
fn charged(stats: &PortStats) -> (u64, u64) {
    let mut registry = Registry::default();
    registry.register("decision", "", stats.decision_seconds.clone());
    registry.register("app", "", stats.app_seconds.clone());
    let mut metrics = String::new();
    text::encode(&mut metrics, &registry).expect("text");
    let count = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|count| count.trim().parse().ok()).expect("a count")
    };
    (count("decision_count"), count("app_count"))
}

#[test]
fn the_first_rule_that_matches_gets_the_request() {
    let routes = [
        route("80 -> a:1 when request.method == 'POST'", None),
        route("80 -> b:1 when request.method == 'GET'", None),
        route("80 -> c:1", None),
    ];
    let decided = decide(&routes, &facts());
    assert!(decided.target.is_some_and(|target| Arc::ptr_eq(&target, &routes[1])));
    assert_eq!(routes[0].stats.decided(Decision::NoMatch), 1);
    assert_eq!(routes[2].stats.decided(Decision::EarlierRule), 1);
}

#[test]
fn latencies_are_not_charged_to_a_rule_whose_ttl_is_over() {
    let past = Instant::now().checked_sub(Duration::from_secs(1));
    let over = route("80 -> a:1 when request.method == 'POST'", past);
    let live = route("80 -> b:1 when request.method == 'POST'", None);
    let traffic = Traffic::default();
    let mut decided = decide(&[Arc::clone(&over), Arc::clone(&live)], &facts());
    assert!(decided.target.is_none());
    let observer = Counters::of_app(&traffic);
    observer.head(Direction::Up, &mut decided.clock);
    observer.head(Direction::Down, &mut decided.clock);
    observer.head(Direction::Down, &mut decided.clock);
    assert_eq!(charged(&over.stats), (0, 0));
    assert_eq!(charged(&live.stats), (1, 1), "each once");
    assert_eq!(traffic.requests(), 1);
}
