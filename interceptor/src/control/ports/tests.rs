//! The order in which ports are taken and released, as a specification. A record of calls stands in
//! for the kernel.

use std::time::Duration;

use tokio::time::Instant as TokioInstant;

use super::*;
use crate::{
    config::{
        policy::Policy,
        workloads::{self, WorkloadSpec},
    },
    control::plan::{Node, Planner},
    datapath::Via,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Records each call, and how many rules a worker would find at that moment.
struct Recorder {
    routes: Arc<ArcSwap<Routes>>,
    calls: Vec<Call>,
    /// Ports that it refuses to take.
    full: Vec<Port>,
    /// Whether it refuses to release.
    stuck: bool,
    /// The expiry of each port, as last set.
    until: HashMap<Port, Option<Instant>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    /// A port, and the number of rules that a connection to it would find.
    Take(String, usize),
    Release(String, usize),
    Detach,
}

impl Recorder {
    fn offered(&self, port: Port) -> usize {
        let routes = self.routes.load();
        routes.get(&port).into_iter().flat_map(|of_port| of_port.iter()).filter(is_live).count()
    }
}

fn is_live(route: &&Arc<Route>) -> bool {
    !route.is_withdrawn()
}

impl TakePorts for Recorder {
    fn take(&mut self, port: Port, via: Via, until: Option<Instant>) -> Result<(), DatapathError> {
        let Via::Relay = via;
        if self.full.contains(&port) {
            return Err(DatapathError::TooManyPorts);
        }
        self.calls.push(Call::Take(port.to_string(), self.offered(port)));
        self.until.insert(port, until);
        Ok(())
    }

    fn release(&mut self, port: Port) -> Result<(), DatapathError> {
        self.calls.push(Call::Release(port.to_string(), self.offered(port)));
        self.until.remove(&port);
        if self.stuck { Err(DatapathError::TooManyPorts) } else { Ok(()) }
    }

    fn detach(&mut self) {
        self.calls.push(Call::Detach);
    }
}

/// Puts rules in force as an attachment does, without its tasks.
struct Fixture {
    planner: Planner,
    rules: Vec<ActiveRule>,
    routes: Arc<ArcSwap<Routes>>,
    programs: Arc<Mutex<Recorder>>,
    ports: Ports<Recorder>,
    expires_at: HashMap<String, TokioInstant>,
}

impl Fixture {
    fn new() -> Self {
        let routes = Arc::new(ArcSwap::from_pointee(Routes::default()));
        let programs = Arc::new(Mutex::new(Recorder {
            routes: Arc::clone(&routes),
            calls: Vec::new(),
            full: Vec::new(),
            stuck: false,
            until: HashMap::new(),
        }));
        let ports = Ports::new(&Arc::from("web"), &programs);
        let (planner, rules, expires_at) = (Planner::default(), Vec::new(), HashMap::new());
        Self { planner, rules, routes, programs, ports, expires_at }
    }

    /// Applies the rules of these developers.
    fn apply(&mut self, developers: &[(&str, &str)]) -> Applied {
        let spec = spec(developers);
        let policy = Policy::default();
        let node = Node { policy: &policy, elsewhere: 0, is_node_address: &|_| false };
        let plan = self.planner.plan(&spec, &node, |_, _| None);
        let mut before = std::mem::take(&mut self.rules);
        for planned in &plan.rules {
            assert_eq!(planned.refusal, None);
            let same = |rule: &ActiveRule| {
                rule.key == planned.key && Some(&rule.rule) == planned.rule.as_ref()
            };
            self.rules.push(match before.iter().position(same) {
                Some(at) => before.swap_remove(at),
                None => {
                    let developer = planned.key.developer().unwrap_or_default();
                    ActiveRule::idle(planned, self.expires_at.get(developer).copied())
                }
            });
        }
        self.ports.apply(&self.routes, &plan, &mut self.rules, &before)
    }

    /// Takes the calls so far.
    fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.programs.lock().calls)
    }

    fn until(&self, port: Port) -> Option<Instant> {
        self.programs.lock().until[&port]
    }

    fn stats(&self, port: Port) -> Arc<PortStats> {
        let routes = self.routes.load();
        let route = routes[&port].iter().find(is_live).expect("a rule has the port");
        Arc::clone(&route.stats)
    }
}

fn spec(developers: &[(&str, &str)]) -> WorkloadSpec {
    let mut text =
        "workloads:\n- name: web\n  netns: /run/netns/web\n  annotations: {}\n".to_owned();
    if !developers.is_empty() {
        text = text.replace(" {}", "");
    }
    for (developer, rules) in developers {
        text += &format!("    debug.redirect/{developer}: '{rules}'\n");
    }
    workloads::parse(&text, "test.yaml").expect("a valid file").workloads.remove(0)
}

fn port(number: u16) -> Port {
    Port::tcp(number.try_into().expect("not zero"))
}

fn take(port: &str, offered: usize) -> Call {
    Call::Take(port.to_owned(), offered)
}

fn release(port: &str, offered: usize) -> Call {
    Call::Release(port.to_owned(), offered)
}

const ALICE: (&str, &str) = ("alice", "8080 -> 10.20.0.7:3000 when source.port == 1");
const BOB: (&str, &str) = ("bob", "8080 -> 10.20.0.8:3000 when source.port == 2");

#[test]
fn a_port_is_taken_when_its_routes_are_there() {
    let mut web = Fixture::new();
    let applied = web.apply(&[("alice", "8080,9090 -> 10.20.0.7:3000")]);
    assert_eq!(applied.taken, [0]);
    // Each port is set twice: its expiry may have changed.
    let once = [take("8080", 1), take("9090", 1)];
    assert_eq!(web.calls(), [once.clone(), once].concat());
}

#[test]
fn a_port_is_released_while_its_routes_are_there_and_keeps_them_withdrawn() {
    let mut web = Fixture::new();
    web.apply(&[("alice", "8080 -> 10.20.0.7:3000")]);
    web.calls();
    let applied = web.apply(&[]);
    assert_eq!(web.calls(), [release("8080", 1)]);
    assert_eq!(applied.released, [port(8080)]);
    let routes = web.routes.load();
    assert!(routes[&port(8080)].iter().all(|route| route.is_withdrawn()));

    // The port is not released a second time.
    let again = web.apply(&[]);
    assert!(again.released.is_empty() && web.calls().is_empty());
}

#[test]
fn a_port_that_moves_is_released_before_the_new_one_is_taken() {
    let mut web = Fixture::new();
    web.apply(&[("alice", "8080 -> 10.20.0.7:3000")]);
    web.calls();
    web.apply(&[("alice", "9090 -> 10.20.0.7:3000")]);
    assert_eq!(web.calls(), [release("8080", 1), take("9090", 1), take("9090", 1)]);
}

#[test]
fn a_rule_that_goes_leaves_the_port_to_the_others() {
    let mut web = Fixture::new();
    web.apply(&[ALICE, BOB]);
    let bobs = web.rules.iter().find(|rule| rule.key.developer() == Some("bob"));
    let bobs = Arc::clone(&bobs.expect("bob's rule").target);
    web.calls();
    let applied = web.apply(&[BOB]);
    assert!(applied.released.is_empty() && applied.taken.is_empty());
    assert_eq!(web.calls(), [take("8080", 1)]);
    let routes = web.routes.load();
    let [route] = &*routes[&port(8080)] else { panic!("one route") };
    assert!(Arc::ptr_eq(&route.target, &bobs), "bob's route is the one that it was");
}

#[test]
fn a_rule_takes_nothing_until_its_target_has_an_address() {
    let mut web = Fixture::new();
    let rules = [("alice", "8080 -> laptop.example:3000")];
    assert!(web.apply(&rules).taken.is_empty());
    assert!(web.calls().is_empty() && web.routes.load().is_empty());
    web.rules[0].resolve_now();
    assert_eq!(web.apply(&rules).taken, [0]);
    assert_eq!(web.calls(), [take("8080", 1), take("8080", 1)]);
}

#[test]
fn a_port_that_can_not_be_taken_fails_its_rule_alone_and_is_tried_again() {
    let mut web = Fixture::new();
    web.programs.lock().full = vec![port(9090)];
    let rules = [("alice", "9090 -> 10.20.0.7:3000"), ("bob", "8080 -> 10.20.0.8:3000")];
    let applied = web.apply(&rules);
    assert_eq!(applied.taken, [1]);
    assert!(matches!(applied.failed[..], [(0, DatapathError::TooManyPorts)]), "{applied:?}");
    web.programs.lock().full.clear();
    let again = web.apply(&rules);
    assert_eq!(again.taken, [0]);
    assert!(again.failed.is_empty());
}

#[test]
fn a_port_that_can_not_be_released_detaches_the_programs() {
    let mut web = Fixture::new();
    web.apply(&[("alice", "8080 -> 10.20.0.7:3000")]);
    web.calls();
    web.programs.lock().stuck = true;
    web.apply(&[]);
    assert_eq!(web.calls(), [release("8080", 1), Call::Detach]);
}

#[test]
fn a_port_is_taken_until_the_last_of_its_rules_ends() {
    let mut web = Fixture::new();
    let now = TokioInstant::now();
    web.expires_at =
        [("alice".to_owned(), now + MINUTE), ("bob".to_owned(), now + 2 * MINUTE)].into();
    web.apply(&[ALICE]);
    assert_eq!(web.until(port(8080)), Some((now + MINUTE).into_std()));
    web.apply(&[ALICE, BOB]);
    assert_eq!(web.until(port(8080)), Some((now + 2 * MINUTE).into_std()));
    web.apply(&[ALICE]);
    assert_eq!(web.until(port(8080)), Some((now + MINUTE).into_std()));
    let carol = ("carol", "8080 -> 10.20.0.9:3000 when source.port == 3");
    web.apply(&[ALICE, carol]);
    assert_eq!(web.until(port(8080)), None, "carol's rule has no end");
}

#[test]
fn a_rule_that_replaces_another_goes_on_counting() {
    let mut web = Fixture::new();
    web.apply(&[("alice", "8080 -> 10.20.0.7:3000")]);
    let counters = web.stats(port(8080));
    web.apply(&[("alice", "8080 -> 10.20.0.8:3000")]);
    assert!(Arc::ptr_eq(&counters, &web.stats(port(8080))));
    web.apply(&[("bob", "8080 -> 10.20.0.8:3000")]);
    assert!(!Arc::ptr_eq(&counters, &web.stats(port(8080))));
}
