//! What a workload's annotations amount to, as a specification.

use std::net::IpAddr;

use super::*;
use crate::{config::workloads, control::reason::State};

/// A workload with ports 8080 and 9090 and these annotations.
fn workload(annotations: &[(&str, &str)]) -> Workload {
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

fn forever(_: &AnnotationKey, _: &Rule) -> Option<Condition> {
    None
}

/// The plan in words: annotation, ports or reason.
fn told(plan: &Plan) -> Vec<String> {
    let mut told: Vec<_> = plan
        .rules
        .iter()
        .map(|planned| match &planned.refusal {
            None => format!(
                "{} takes {:?}",
                planned.key,
                planned.ports.iter().map(|p| p.get()).collect::<Vec<_>>()
            ),
            Some(refusal) => format!("{} {} {}", planned.key, refusal.state, refusal.reason),
        })
        .collect();
    told.sort();
    told
}

fn plan_with(planner: &mut Planner, policy: &Policy, annotations: &[(&str, &str)]) -> Plan {
    planner.plan(&workload(annotations), policy, 0, no_node, forever)
}

fn plan(annotations: &[(&str, &str)]) -> Plan {
    plan_with(&mut Planner::default(), &Policy::default(), annotations)
}

#[test]
fn a_rule_takes_the_ports_that_it_names() {
    assert_eq!(told(&plan(&[("debug.redirect", "8080 -> 10.20.0.7:3000")])), ["debug.redirect takes [8080]"]);
}

#[test]
fn a_rule_without_ports_takes_those_that_the_workload_declares() {
    assert_eq!(told(&plan(&[("debug.redirect", "10.20.0.7:3000")])), ["debug.redirect takes [8080, 9090]"]);
}

#[test]
fn developers_share_a_workload_by_port() {
    let annotations = [
        ("debug.redirect/alice", "8080 -> 10.20.0.7:3000"),
        ("debug.redirect/bob", "9090 -> 10.20.0.8:3000"),
    ];
    assert_eq!(
        told(&plan(&annotations)),
        ["debug.redirect/alice takes [8080]", "debug.redirect/bob takes [9090]"]
    );
}

#[test]
fn the_older_of_two_rules_holds_the_port_and_the_newer_is_told_whose_it_is() {
    let mut planner = Planner::default();
    let bob = ("debug.redirect/bob", "8080 -> 10.20.0.8:3000");
    let alice = ("debug.redirect/alice", "8080 -> 10.20.0.7:3000");
    plan_with(&mut planner, &Policy::default(), &[bob]);
    // Alice comes later, though her name comes first.
    let both = plan_with(&mut planner, &Policy::default(), &[alice, bob]);
    assert_eq!(told(&both), ["debug.redirect/alice refused PortTaken", "debug.redirect/bob takes [8080]"]);
    let refusal = both.rules.iter().find_map(|planned| planned.refusal.as_ref()).expect("alice's");
    assert_eq!(refusal.message, "debug.redirect/bob holds port 8080");
    // When bob goes, alice has it.
    let alone = plan_with(&mut planner, &Policy::default(), &[alice]);
    assert_eq!(told(&alone), ["debug.redirect/alice takes [8080]"]);
}

#[test]
fn an_older_annotation_that_asks_for_more_later_does_not_take_it_from_its_holder() {
    let mut planner = Planner::default();
    let policy = Policy::default();
    plan_with(&mut planner, &policy, &[("debug.redirect/alice", "8080 -> 10.20.0.7:3000")]);
    let bob = ("debug.redirect/bob", "9090 -> 10.20.0.8:3000");
    plan_with(&mut planner, &policy, &[("debug.redirect/alice", "8080 -> 10.20.0.7:3000"), bob]);
    let greedy =
        plan_with(&mut planner, &policy, &[("debug.redirect/alice", "8080,9090 -> 10.20.0.7:3000"), bob]);
    assert_eq!(told(&greedy), ["debug.redirect/alice refused PortTaken", "debug.redirect/bob takes [9090]"]);
}

#[test]
fn two_rules_of_one_annotation_can_not_share_a_port() {
    let both = plan(&[("debug.redirect", "8080 -> 10.20.0.7:3000; 8080,9090 -> 10.20.0.8:3000")]);
    assert_eq!(told(&both), ["debug.redirect refused PortTaken", "debug.redirect takes [8080]"]);
}

#[test]
fn a_text_that_can_not_be_read_leaves_the_last_one_in_force() {
    let mut planner = Planner::default();
    plan_with(&mut planner, &Policy::default(), &[("debug.redirect", "8080 -> 10.20.0.7:3000")]);
    let broken = plan_with(&mut planner, &Policy::default(), &[("debug.redirect", "8080 => 10.20.0.7:3000")]);
    assert_eq!(told(&broken), ["debug.redirect refused RuleInvalid", "debug.redirect takes [8080]"]);
    let refusal = broken.rules.iter().find_map(|planned| planned.refusal.as_ref()).expect("the broken text");
    assert!(refusal.message.contains("the previous rules stay in force"), "{}", refusal.message);
    assert!(refusal.message.starts_with("test.yaml:6:27:"), "{}", refusal.message);
}

#[test]
fn a_text_that_can_not_be_read_from_the_start_takes_nothing() {
    let broken = plan(&[("debug.redirect", "8080 => 10.20.0.7:3000")]);
    assert_eq!(told(&broken), ["debug.redirect refused RuleInvalid"]);
}

#[test]
fn what_is_not_supported_yet_is_refused_and_replaces_what_stood_there() {
    let mut planner = Planner::default();
    plan_with(&mut planner, &Policy::default(), &[("debug.redirect", "8080 -> 10.20.0.7:3000")]);
    for text in [
        "8080 -> 10.20.0.7:3000 when request.path == \"/x\"",
        "8080 -> 10.20.0.7:3000 percent 5",
        "8080 -> alice",
    ] {
        let later = plan_with(&mut planner, &Policy::default(), &[("debug.redirect", text)]);
        assert_eq!(told(&later), ["debug.redirect refused NotSupported"], "{text}");
    }
    assert_eq!(
        told(&plan(&[("debug.mirror", "8080 -> 10.20.0.7:3000")])),
        ["debug.mirror refused NotSupported"]
    );
}

#[test]
fn targets_are_judged_by_the_policy() {
    let denied = plan(&[("debug.redirect", "8080 -> 127.0.0.1:3000")]);
    assert_eq!(told(&denied), ["debug.redirect refused TargetDenied"]);

    let policy = Policy::parse("targets:\n  deny: [10.20.0.0/16]\n", "policy.yaml").expect("a valid policy");
    let denied = plan_with(&mut Planner::default(), &policy, &[("debug.redirect", "8080 -> 10.20.0.7:3000")]);
    assert_eq!(told(&denied), ["debug.redirect refused TargetDenied"]);
    let message = &denied.rules[0].refusal.as_ref().expect("refused").message;
    assert!(message.contains("policy.yaml:2"), "{message}");
}

#[test]
fn the_nodes_own_addresses_are_no_targets() {
    let spec = workload(&[("debug.redirect", "8080 -> 10.20.0.7:3000")]);
    let plan = Planner::default().plan(&spec, &Policy::default(), 0, |_| true, forever);
    assert_eq!(told(&plan), ["debug.redirect refused TargetDenied"]);
}

#[test]
fn a_workload_has_no_more_rules_than_the_policy_allows() {
    let policy = Policy::parse("maxRules: 1\n", "policy.yaml").expect("a valid policy");
    let annotations = [("debug.redirect", "8080 -> 10.20.0.7:3000; 9090 -> 10.20.0.7:3000")];
    let plan = plan_with(&mut Planner::default(), &policy, &annotations);
    assert_eq!(told(&plan), ["debug.redirect refused LimitExceeded", "debug.redirect takes [8080]"]);
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
        first.rules.iter().any(|planned| planned.refusal.as_ref().is_some_and(|r| r.state == State::Refused))
    );
}

#[test]
fn a_rule_whose_time_is_over_leaves_its_port_to_the_next() {
    let mut planner = Planner::default();
    let both = workload(&[
        ("debug.redirect/alice", "8080 -> 10.0.0.1:1 ttl 1h"),
        ("debug.redirect/bob", "8080 -> 10.0.0.2:2"),
    ]);
    let policy = Policy::default();
    let held = planner.plan(&both, &policy, 0, no_node, forever);
    assert_eq!(told(&held), ["debug.redirect/alice takes [8080]", "debug.redirect/bob refused PortTaken"]);
    let over = |key: &AnnotationKey, _: &Rule| {
        (key.developer() == Some("alice")).then(|| Condition::expired("over"))
    };
    let freed = planner.plan(&both, &policy, 0, no_node, over);
    assert_eq!(told(&freed), ["debug.redirect/alice expired TtlExpired", "debug.redirect/bob takes [8080]"]);
}

#[test]
fn rules_elsewhere_count_for_the_nodes_limit() {
    let policy = Policy::parse("maxRulesPerNode: 3", "policy.yaml").expect("a policy");
    let spec = workload(&[("debug.redirect", "8080 -> 10.0.0.1:1; 9090 -> 10.0.0.1:2")]);
    let plan = |elsewhere| told(&Planner::default().plan(&spec, &policy, elsewhere, no_node, forever));
    assert_eq!(plan(1), ["debug.redirect takes [8080]", "debug.redirect takes [9090]"]);
    assert_eq!(plan(2), ["debug.redirect refused LimitExceeded", "debug.redirect takes [8080]"]);
}
