//! The plan for a workload's annotations, as a specification.

use std::{net::IpAddr, num::NonZeroU16};

use interceptor_api::State;
use rstest::rstest;

use super::*;
use crate::{
    config::{policy::Policy, workloads},
    datapath::Via,
};

/// A workload with ports 8080 and 9090 and these annotations.
fn workload(annotations: &[(&str, &str)]) -> WorkloadSpec {
    let mut text =
        "workloads:\n- name: web\n  netns: /run/netns/web\n  ports: [8080, 9090]\n  annotations:\n"
            .to_owned();
    for (key, value) in annotations {
        text += &format!("    {key}: '{value}'\n");
    }
    workloads::parse(&text, "test.yaml").expect("a valid file").workloads.remove(0)
}

fn no_node(_: IpAddr) -> bool {
    false
}

/// A node without other workloads.
fn node(policy: &Policy) -> Node<'_> {
    Node { policy, elsewhere: 0, is_node_address: &no_node }
}

fn forever(_: &AnnotationKey, _: &Rule) -> Option<Standing> {
    None
}

/// The plan in words: annotation, then ports or reason.
fn summary(plan: &Plan) -> Vec<String> {
    let mut summary: Vec<_> = plan
        .rules
        .iter()
        .map(|planned| match &planned.refusal {
            None => format!(
                "{} takes {:?}",
                planned.key,
                planned.ports.iter().map(|port| port.number()).collect::<Vec<_>>()
            ),
            Some(refusal) => format!("{} {} {}", planned.key, refusal.state, refusal.reason),
        })
        .collect();
    summary.sort();
    summary
}

fn plan_with(planner: &mut Planner, policy: &Policy, annotations: &[(&str, &str)]) -> Plan {
    planner.plan(&workload(annotations), &node(policy), forever)
}

fn plan(annotations: &[(&str, &str)]) -> Plan {
    plan_with(&mut Planner::default(), &Policy::default(), annotations)
}

#[test]
fn a_rule_takes_the_ports_that_it_names() {
    assert_eq!(
        summary(&plan(&[("debug.redirect", "8080 -> 10.20.0.7:3000")])),
        ["debug.redirect takes [8080]"]
    );
}

#[test]
fn a_rule_without_ports_takes_those_that_the_workload_declares() {
    assert_eq!(
        summary(&plan(&[("debug.redirect", "10.20.0.7:3000")])),
        ["debug.redirect takes [8080, 9090]"]
    );
}

#[test]
fn developers_share_a_workload_by_port() {
    let annotations = [
        ("debug.redirect/alice", "8080 -> 10.20.0.7:3000"),
        ("debug.redirect/bob", "9090 -> 10.20.0.8:3000"),
    ];
    assert_eq!(
        summary(&plan(&annotations)),
        ["debug.redirect/alice takes [8080]", "debug.redirect/bob takes [9090]"]
    );
}

#[test]
fn the_older_of_two_rules_holds_the_port_and_the_newer_names_it() {
    let mut planner = Planner::default();
    let bob = ("debug.redirect/bob", "8080 -> 10.20.0.8:3000");
    let alice = ("debug.redirect/alice", "8080 -> 10.20.0.7:3000");
    plan_with(&mut planner, &Policy::default(), &[bob]);
    // Alice comes later, though her name comes first.
    let both = plan_with(&mut planner, &Policy::default(), &[alice, bob]);
    assert_eq!(
        summary(&both),
        ["debug.redirect/alice refused PortTaken", "debug.redirect/bob takes [8080]"]
    );
    let refusal = both.rules.iter().find_map(|planned| planned.refusal.as_ref()).expect("alice's");
    assert_eq!(refusal.message, "debug.redirect/bob holds port 8080");
    // When bob goes, alice has it.
    let alone = plan_with(&mut planner, &Policy::default(), &[alice]);
    assert_eq!(summary(&alone), ["debug.redirect/alice takes [8080]"]);
}

#[test]
fn an_older_annotation_that_asks_for_more_later_does_not_take_it_from_its_holder() {
    let mut planner = Planner::default();
    let policy = Policy::default();
    plan_with(&mut planner, &policy, &[("debug.redirect/alice", "8080 -> 10.20.0.7:3000")]);
    let bob = ("debug.redirect/bob", "9090 -> 10.20.0.8:3000");
    plan_with(&mut planner, &policy, &[("debug.redirect/alice", "8080 -> 10.20.0.7:3000"), bob]);
    let greedy = plan_with(
        &mut planner,
        &policy,
        &[("debug.redirect/alice", "8080,9090 -> 10.20.0.7:3000"), bob],
    );
    assert_eq!(
        summary(&greedy),
        ["debug.redirect/alice refused PortTaken", "debug.redirect/bob takes [9090]"]
    );
}

#[test]
fn two_rules_of_one_annotation_can_not_share_a_port() {
    let both = plan(&[("debug.redirect", "8080 -> 10.20.0.7:3000; 8080,9090 -> 10.20.0.8:3000")]);
    assert_eq!(summary(&both), ["debug.redirect refused PortTaken", "debug.redirect takes [8080]"]);
}

/// The developers behind the rules of port 8080, in the order in which the relay asks them.
fn order(plan: &Plan) -> Vec<&str> {
    let port = Port::tcp(NonZeroU16::new(8080).expect("not zero"));
    let rules =
        plan.ports.get(&port).into_iter().flat_map(|port| &port.rules).map(|&n| &plan.rules[n]);
    rules.map(|rule| rule.key.developer().unwrap_or_default()).collect()
}

const ALICE: (&str, &str) =
    ("debug.redirect/alice", "8080 -> 10.20.0.7:3000 when source.port == 1");
const BOB: (&str, &str) = ("debug.redirect/bob", "8080 -> 10.20.0.8:3000 when source.port == 2");

#[test]
fn rules_with_conditions_share_a_port_by_age() {
    let mut planner = Planner::default();
    plan_with(&mut planner, &Policy::default(), &[BOB]);
    let both = plan_with(&mut planner, &Policy::default(), &[ALICE, BOB]);
    assert_eq!(
        summary(&both),
        ["debug.redirect/alice takes [8080]", "debug.redirect/bob takes [8080]"]
    );
    assert_eq!(order(&both), ["bob", "alice"]);
}

#[test]
fn a_rule_for_all_takes_what_the_older_ones_leave_and_leaves_nothing_to_newer_ones() {
    let mut planner = Planner::default();
    let all = ("debug.redirect/all", "8080 -> 10.20.0.9:3000");
    plan_with(&mut planner, &Policy::default(), &[ALICE]);
    let two = plan_with(&mut planner, &Policy::default(), &[ALICE, all]);
    assert_eq!(order(&two), ["alice", "all"]);
    let three = plan_with(&mut planner, &Policy::default(), &[ALICE, all, BOB]);
    assert_eq!(order(&three), ["alice", "all"]);
    let refusal = three.rules.iter().find_map(|planned| planned.refusal.as_ref()).expect("bob's");
    assert_eq!(refusal.message, "debug.redirect/all holds port 8080");
}

#[test]
fn the_first_annotation_of_a_port_stays_first_when_its_rules_change() {
    let mut planner = Planner::default();
    let policy = Policy::default();
    let elsewhere = ("debug.redirect/alice", "9090 -> 10.20.0.7:3000");
    plan_with(&mut planner, &policy, &[elsewhere]);
    plan_with(&mut planner, &policy, &[elsewhere, BOB]);
    assert_eq!(order(&plan_with(&mut planner, &policy, &[ALICE, BOB])), ["bob", "alice"]);
    let other = ("debug.redirect/bob", "8080 -> 10.20.0.8:3000 when source.port == 3");
    assert_eq!(order(&plan_with(&mut planner, &policy, &[ALICE, other])), ["bob", "alice"]);
    // A rule for everything keeps its place behind older rules.
    let greedy = ("debug.redirect/alice", "8080 -> 10.20.0.7:3000");
    assert_eq!(order(&plan_with(&mut planner, &policy, &[greedy, BOB])), ["bob", "alice"]);
}

#[test]
fn a_rule_without_requests_left_names_the_rule_that_takes_them() {
    let same = ("debug.redirect/bob", "8080 -> 10.20.0.8:3000 when source.port == 1");
    let both = plan(&[ALICE, same]);
    assert_eq!(
        summary(&both),
        ["debug.redirect/alice takes [8080]", "debug.redirect/bob refused PortTaken"]
    );
    let refusal = both.rules.iter().find_map(|planned| planned.refusal.as_ref()).expect("bob's");
    assert_eq!(refusal.message, "debug.redirect/alice holds the same requests of port 8080");
    // The same condition in other words.
    let other = ("debug.redirect/bob", "8080 -> 10.20.0.8:3000 when (1==source.port)");
    let refused = refusal_of(&[ALICE, other]);
    let expected =
        "debug.redirect/alice holds the same requests of port 8080 by `when source.port == 1`";
    assert_eq!(refused.as_deref(), Some(expected));
    // A share leaves the rest to others.
    let share = ("debug.redirect/alice", "8080 -> 10.20.0.7:3000 when source.port == 1 percent 50");
    assert_eq!(order(&plan(&[share, same])), ["alice", "bob"]);
}

/// The message of the first refused rule.
fn refusal_of(annotations: &[(&str, &str)]) -> Option<String> {
    let plan = plan(annotations);
    plan.rules.iter().find_map(|planned| Some(planned.refusal.as_ref()?.message.clone()))
}

#[rstest]
#[case("true", "source.port == 1", Some("debug.redirect/alice holds port 8080"))]
#[case(
    "source.port in [1, 2]",
    "source.port == 2",
    Some(
        "debug.redirect/alice holds all these requests of port 8080 by `when source.port in [1, 2]`"
    )
)]
#[case("source.port in [1, 2]", "source.port == 3", None)]
#[case("source.port == 1 && source.address != destination.address", "source.port == 1", None)]
#[case("source.port == 1", "false", None)]
fn a_rule_is_refused_if_an_older_one_surely_takes_all_that_it_matches(
    #[case] older: &str,
    #[case] newer: &str,
    #[case] message: Option<&str>,
) {
    let older = format!("8080 -> 10.20.0.7:3000 when {older}");
    let newer = format!("8080 -> 10.20.0.8:3000 when {newer}");
    let refused = refusal_of(&[("debug.redirect/alice", &older), ("debug.redirect/bob", &newer)]);
    assert_eq!(refused.as_deref(), message);
}

#[test]
fn two_rules_of_one_annotation_share_a_port_in_the_order_of_the_text() {
    let both = plan(&[(
        "debug.redirect",
        "8080 -> 10.20.0.7:3000 when source.port == 1; 8080 -> 10.20.0.8:3000",
    )]);
    let port = Port::tcp(NonZeroU16::new(8080).expect("not zero"));
    let targets: Vec<_> = both.ports[&port]
        .rules
        .iter()
        .map(|&n| {
            both.rules[n].rule.as_ref().map(|rule| rule.target.to_string()).unwrap_or_default()
        })
        .collect();
    assert_eq!(targets, ["10.20.0.7:3000", "10.20.0.8:3000"]);
}

#[test]
fn the_relay_carries_every_port() {
    let rules = "8080 -> 10.20.0.7:3000; 9090 -> laptop.example:1 when source.port == 1 percent 5";
    let plan = plan(&[("debug.redirect", rules)]);
    let vias: Vec<_> = plan.ports.iter().map(|(port, plan)| (port.to_string(), plan.via)).collect();
    assert_eq!(vias, [("8080".to_owned(), Via::Relay), ("9090".to_owned(), Via::Relay)]);
}

#[test]
fn a_text_that_can_not_be_read_leaves_the_last_one_in_force() {
    let mut planner = Planner::default();
    plan_with(&mut planner, &Policy::default(), &[("debug.redirect", "8080 -> 10.20.0.7:3000")]);
    let broken = plan_with(
        &mut planner,
        &Policy::default(),
        &[("debug.redirect", "8080 => 10.20.0.7:3000")],
    );
    assert_eq!(
        summary(&broken),
        ["debug.redirect refused RuleInvalid", "debug.redirect takes [8080]"]
    );
    let refusal =
        broken.rules.iter().find_map(|planned| planned.refusal.as_ref()).expect("the broken text");
    let kept = "; the previous rule stays in force: `8080 -> 10.20.0.7:3000`\n";
    assert!(refusal.message.contains(kept), "{}", refusal.message);
    assert!(refusal.message.starts_with("test.yaml:6:27:"), "{}", refusal.message);
}

#[test]
fn a_message_names_the_rules_that_stay_in_force() {
    let mut planner = Planner::default();
    let rules = "8080 -> 10.20.0.7:3000 ttl 8h; 9090 -> 10.20.0.7:3001";
    plan_with(&mut planner, &Policy::default(), &[("debug.redirect", rules)]);
    let broken = plan_with(&mut planner, &Policy::default(), &[("debug.redirect", "http -> a:1")]);
    let refusal =
        broken.rules.iter().find_map(|planned| planned.refusal.as_ref()).expect("refused");
    let kept = "; the previous rules stay in force: `8080 -> 10.20.0.7:3000 ttl 8h` and 1 more\n";
    assert!(refusal.message.contains(kept), "{}", refusal.message);
}

#[test]
fn a_text_that_can_not_be_read_from_the_start_takes_nothing() {
    let broken = plan(&[("debug.redirect", "8080 => 10.20.0.7:3000")]);
    assert_eq!(summary(&broken), ["debug.redirect refused RuleInvalid"]);
}

#[test]
fn an_unsupported_rule_is_refused_and_replaces_the_rule_before_it() {
    let mut planner = Planner::default();
    plan_with(&mut planner, &Policy::default(), &[("debug.redirect", "8080 -> 10.20.0.7:3000")]);
    let later = plan_with(&mut planner, &Policy::default(), &[("debug.redirect", "8080 -> alice")]);
    assert_eq!(summary(&later), ["debug.redirect refused NotSupported"]);
    assert_eq!(
        summary(&plan(&[("debug.redirect", "8080,8125/udp -> 10.20.0.7:3000")])),
        ["debug.redirect refused NotSupported"]
    );
    assert_eq!(
        summary(&plan(&[("debug.mirror", "8080 -> 10.20.0.7:3000")])),
        ["debug.mirror refused NotSupported"]
    );
}

#[test]
fn targets_are_judged_by_the_policy() {
    for loopback in ["127.0.0.1", "localhost"] {
        let rule = format!("8080 -> {loopback}:3000");
        let message = refusal_of(&[("debug.redirect", &rule)]).expect("is refused");
        let expected = "127.0.0.1 is refused: loopback; from the pod, that is the pod itself; write \
                        an address of your computer that the pod can reach (built in; an admin can \
                        allow it with targets.allowReserved: [loopback])";
        assert_eq!(message, expected);
        assert_eq!(
            summary(&plan(&[("debug.redirect", &rule)])),
            ["debug.redirect refused TargetDenied"]
        );
    }

    let policy =
        Policy::parse("targets:\n  deny: [10.20.0.0/16]\n", "policy.yaml").expect("a valid policy");
    let denied = plan_with(
        &mut Planner::default(),
        &policy,
        &[("debug.redirect", "8080 -> 10.20.0.7:3000")],
    );
    assert_eq!(summary(&denied), ["debug.redirect refused TargetDenied"]);
    let message = &denied.rules[0].refusal.as_ref().expect("refused").message;
    assert!(message.contains("policy.yaml:2"), "{message}");
}

#[test]
fn the_nodes_own_addresses_are_no_targets() {
    let spec = workload(&[("debug.redirect", "8080 -> 10.20.0.7:3000")]);
    let policy = Policy::default();
    let node = Node { is_node_address: &|_| true, ..node(&policy) };
    let plan = Planner::default().plan(&spec, &node, forever);
    assert_eq!(summary(&plan), ["debug.redirect refused TargetDenied"]);
}

#[test]
fn a_workload_has_no_more_rules_than_the_policy_allows() {
    let policy = Policy::parse("maxRules: 1\n", "policy.yaml").expect("a valid policy");
    let annotations = [("debug.redirect", "8080 -> 10.20.0.7:3000; 9090 -> 10.20.0.7:3000")];
    let plan = plan_with(&mut Planner::default(), &policy, &annotations);
    assert_eq!(
        summary(&plan),
        ["debug.redirect refused LimitExceeded", "debug.redirect takes [8080]"]
    );
}

#[test]
fn a_removed_annotation_takes_nothing() {
    let mut planner = Planner::default();
    plan_with(&mut planner, &Policy::default(), &[("debug.redirect", "8080 -> 10.20.0.7:3000")]);
    let plan = plan_with(&mut planner, &Policy::default(), &[("other.example/x", "y")]);
    assert_eq!(plan, Plan::default());
}

#[test]
fn planning_twice_gives_the_same_plan() {
    let mut planner = Planner::default();
    let annotations = [
        ("debug.redirect", "8080 -> 10.20.0.7:3000"),
        ("debug.redirect/bob", "8080 -> 10.20.0.8:3000 ttl 5m"),
    ];
    let first = plan_with(&mut planner, &Policy::default(), &annotations);
    assert_eq!(plan_with(&mut planner, &Policy::default(), &annotations), first);
    assert!(
        first
            .rules
            .iter()
            .any(|planned| planned.refusal.as_ref().is_some_and(|r| r.state == State::Refused))
    );
}

#[test]
fn an_expired_rule_leaves_its_port_to_the_next() {
    let mut planner = Planner::default();
    let both = workload(&[
        ("debug.redirect/alice", "8080 -> 10.0.0.1:1 ttl 1h"),
        ("debug.redirect/bob", "8080 -> 10.0.0.2:2"),
    ]);
    let policy = Policy::default();
    let held = planner.plan(&both, &node(&policy), forever);
    assert_eq!(
        summary(&held),
        ["debug.redirect/alice takes [8080]", "debug.redirect/bob refused PortTaken"]
    );
    let over = |key: &AnnotationKey, _: &Rule| {
        (key.developer() == Some("alice")).then(|| Standing::expired("over"))
    };
    let freed = planner.plan(&both, &node(&policy), over);
    assert_eq!(
        summary(&freed),
        ["debug.redirect/alice expired TtlExpired", "debug.redirect/bob takes [8080]"]
    );
}

#[test]
fn rules_elsewhere_count_for_the_nodes_limit() {
    let policy = Policy::parse("maxRulesPerNode: 3", "policy.yaml").expect("a policy");
    let spec = workload(&[("debug.redirect", "8080 -> 10.0.0.1:1; 9090 -> 10.0.0.1:2")]);
    let plan = |elsewhere| {
        let node = Node { elsewhere, ..node(&policy) };
        summary(&Planner::default().plan(&spec, &node, forever))
    };
    assert_eq!(plan(1), ["debug.redirect takes [8080]", "debug.redirect takes [9090]"]);
    assert_eq!(plan(2), ["debug.redirect refused LimitExceeded", "debug.redirect takes [8080]"]);
}
