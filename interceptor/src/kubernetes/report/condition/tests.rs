//! The conditions of a pod, as a specification.

use interceptor_api::Standing;

use super::*;
use crate::config::workloads::Written;

fn rule(annotation: &str, standing: Standing) -> RuleEntry {
    RuleEntry::bare(annotation, "8080 -> 10.20.0.7:3000", standing)
}

fn denied() -> Standing {
    Standing::refused(Reason::TargetDenied, "10.0.0.1 is refused")
}

/// Type, status and reason of each condition.
fn summaries(rules: &[RuleEntry]) -> Vec<(String, bool, String)> {
    let conditions = conditions(rules).into_iter();
    conditions.map(|condition| (condition.type_, condition.active, condition.reason)).collect()
}

#[test]
fn one_rule_has_one_condition_with_its_state() {
    let rule = rule("debug.redirect", Standing::active("port 8080 → 10.20.0.7:3000"));
    let expected = ConditionSpec {
        type_: "debug.redirect/Active".to_owned(),
        active: true,
        reason: "Intercepting".to_owned(),
        message: "debug.redirect: port 8080 → 10.20.0.7:3000".to_owned(),
    };
    assert_eq!(conditions(&[rule]), [expected]);
}

#[test]
fn one_rule_that_is_not_active_makes_the_summary_false() {
    let rules =
        [rule("debug.redirect", Standing::active("fine")), rule("debug.redirect", denied())];
    assert_eq!(
        summaries(&rules),
        [("debug.redirect/Active".to_owned(), false, "TargetDenied".to_owned())]
    );
    assert_eq!(
        conditions(&rules)[0].message,
        "1 of 2 rules are active; debug.redirect: 10.0.0.1 is refused; debug.redirect: fine"
    );
}

#[test]
fn a_developer_has_a_condition_beside_the_summary() {
    let rules = [
        rule("debug.redirect/alice", Standing::active("fine")),
        rule("debug.redirect/bob", denied()),
    ];
    let expected = [
        ("debug.redirect/Active".to_owned(), false, "TargetDenied".to_owned()),
        ("debug.redirect/Active-alice".to_owned(), true, "Intercepting".to_owned()),
        ("debug.redirect/Active-bob".to_owned(), false, "TargetDenied".to_owned()),
    ];
    assert_eq!(summaries(&rules), expected);
}

#[test]
fn a_rule_whose_target_does_not_take_connections_is_false() {
    for reason in [Reason::TargetRefuses, Reason::TargetSilent, Reason::TargetUnreachable] {
        let rule = rule("debug.redirect", Standing::fell_back(reason, "clients get the app"));
        let expected = [("debug.redirect/Active".to_owned(), false, reason.to_string())];
        assert_eq!(summaries(&[rule]), expected);
    }
}

#[test]
fn a_message_has_the_time_of_writing_before_the_picture_of_a_mistake() {
    let at = "2026-11-30T15:04:05Z".parse::<Timestamp>().expect("a time").into();
    let written = Some(Written { at, with: "kubectl-annotate".into() });
    let refused = Standing::refused(Reason::RuleInvalid, "column 6: wrong\n8080 => a:1\n     ^^");
    let active = RuleEntry {
        written: written.clone(),
        ..rule("debug.redirect/alice", Standing::active("port 80 → a:1"))
    };
    let wrong = RuleEntry { written, ..rule("debug.redirect/bob", refused) };
    let since = "since 2026-11-30T15:04:05Z (kubectl-annotate)";
    assert_eq!(sentence(&active), format!("debug.redirect/alice: port 80 → a:1; {since}"));
    let expected = format!("debug.redirect/bob: column 6: wrong; {since}\n8080 => a:1\n     ^^");
    assert_eq!(sentence(&wrong), expected);
}

#[test]
fn states_that_pass_by_themselves_have_a_grace() {
    let pending = |reason| rule("debug.redirect", Standing::pending(reason, "soon"));
    let grace = |reason| transient_grace(&[rule("debug.redirect", denied()), pending(reason)]);
    assert_eq!(grace(Reason::Proving), Some(Duration::from_secs(2)));
    assert_eq!(grace(Reason::NetnsNotFound), Some(Duration::from_secs(5)));
    assert_eq!(grace(Reason::KernelRefused), None);
}

#[test]
fn no_rules_no_conditions() {
    assert_eq!(conditions(&[]), []);
}

#[test]
fn a_condition_on_a_pod_is_read_as_it_was_written() {
    let spec = &conditions(&[rule("debug.redirect", denied())])[0];
    assert_eq!(ConditionSpec::read(&spec.to_condition(Timestamp::UNIX_EPOCH)), *spec);
}

#[test]
fn a_long_message_is_shortened_between_characters() {
    let long = "ü".repeat(MAX_MESSAGE);
    let short = shortened(&long);
    assert!(short.len() <= MAX_MESSAGE && short.ends_with('…'), "{}", short.len());
    assert_eq!(shortened("short"), "short");
}
