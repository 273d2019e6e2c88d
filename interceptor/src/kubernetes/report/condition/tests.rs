//! What a pod's conditions say, as a specification.

use super::*;
use crate::control::status::Standing;

fn rule(annotation: &str, condition: Standing) -> RuleEntry {
    RuleEntry::bare(annotation, "8080 -> 10.20.0.7:3000", condition)
}

fn denied() -> Standing {
    Standing::refused(Reason::TargetDenied, "10.0.0.1 is refused")
}

/// Type, status and reason of each condition.
fn told(rules: &[RuleEntry]) -> Vec<(String, bool, String)> {
    conditions(rules).into_iter().map(|said| (said.type_, said.active, said.reason)).collect()
}

#[test]
fn one_rule_has_one_condition_that_says_what_its_status_says() {
    let said = conditions(&[rule(
        "debug.redirect",
        Standing::active("new connections reach 10.20.0.7:3000"),
    )]);
    let expected = ConditionSpec {
        type_: "debug.redirect/Active".to_owned(),
        active: true,
        reason: "Intercepting".to_owned(),
        message: "new connections reach 10.20.0.7:3000".to_owned(),
    };
    assert_eq!(said, [expected]);
}

#[test]
fn one_rule_that_is_not_active_makes_all_of_them_false() {
    let rules =
        [rule("debug.redirect", Standing::active("fine")), rule("debug.redirect", denied())];
    assert_eq!(
        told(&rules),
        [("debug.redirect/Active".to_owned(), false, "TargetDenied".to_owned())]
    );
    assert_eq!(
        conditions(&rules)[0].message,
        "1 of 2 rules are active; debug.redirect: 10.0.0.1 is refused"
    );
}

#[test]
fn a_developer_has_a_condition_of_his_own_beside_that_of_all() {
    let rules = [
        rule("debug.redirect/alice", Standing::active("fine")),
        rule("debug.redirect/bob", denied()),
    ];
    let expected = [
        ("debug.redirect/Active".to_owned(), false, "TargetDenied".to_owned()),
        ("debug.redirect/Active-alice".to_owned(), true, "Intercepting".to_owned()),
        ("debug.redirect/Active-bob".to_owned(), false, "TargetDenied".to_owned()),
    ];
    assert_eq!(told(&rules), expected);
}

#[test]
fn no_rules_no_conditions() {
    assert_eq!(conditions(&[]), []);
}

#[test]
fn a_condition_on_a_pod_is_read_as_it_was_written() {
    let said = &conditions(&[rule("debug.redirect", denied())])[0];
    assert_eq!(ConditionSpec::read(&said.condition(Timestamp::UNIX_EPOCH)), *said);
}

#[test]
fn a_long_message_is_shortened_between_characters() {
    let long = "ü".repeat(MAX_MESSAGE);
    let short = shortened(&long);
    assert!(short.len() <= MAX_MESSAGE && short.ends_with('…'), "{}", short.len());
    assert_eq!(shortened("short"), "short");
}
