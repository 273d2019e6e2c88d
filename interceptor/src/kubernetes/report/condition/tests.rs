//! The conditions of a pod, as a specification.

use interceptor_api::Standing;

use super::*;

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
    let rule = rule("debug.redirect", Standing::active("new connections reach 10.20.0.7:3000"));
    let expected = ConditionSpec {
        type_: "debug.redirect/Active".to_owned(),
        active: true,
        reason: "Intercepting".to_owned(),
        message: "new connections reach 10.20.0.7:3000".to_owned(),
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
        "1 of 2 rules are active; debug.redirect: 10.0.0.1 is refused"
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
