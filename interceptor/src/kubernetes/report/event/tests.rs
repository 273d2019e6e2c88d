//! Which changes deserve an Event, as a specification.

use interceptor_api::Standing;

use super::*;

fn rule(text: &str, standing: Standing) -> RuleEntry {
    RuleEntry::bare("debug.redirect", text, standing)
}

fn active(text: &str) -> RuleEntry {
    rule(text, Standing::active("new connections reach it"))
}

fn refused(text: &str) -> RuleEntry {
    rule(text, Standing::refused(Reason::TargetDenied, "refused"))
}

fn pending(text: &str) -> RuleEntry {
    rule(text, Standing::pending(Reason::NetnsNotFound, "no namespace"))
}

fn reasons(events: &[PodEvent]) -> Vec<&'static str> {
    events.iter().map(|event| event.reason.as_str()).collect()
}

#[test]
fn a_rule_has_one_event_when_it_is_active_and_one_when_it_has_ended() {
    let mut reported = Reported::default();
    assert_eq!(reasons(&reported.update(&[pending("a")])), [""; 0]);
    assert_eq!(reasons(&reported.update(&[active("a")])), ["RedirectActive"]);
    assert_eq!(reasons(&reported.update(&[active("a")])), [""; 0]);
    assert_eq!(reasons(&reported.end()), ["RedirectEnded"]);
    assert_eq!(reasons(&reported.end()), [""; 0]);
}

#[test]
fn another_rule_in_its_place_is_a_change() {
    let mut reported = Reported::default();
    reported.update(&[active("a")]);
    assert_eq!(reasons(&reported.update(&[active("b")])), ["RedirectChanged"]);
    // If the new rule is not active at once, the old one ends first.
    assert_eq!(reasons(&reported.update(&[pending("c")])), ["RedirectEnded"]);
    assert_eq!(reasons(&reported.update(&[active("c")])), ["RedirectActive"]);
}

#[test]
fn a_refusal_is_a_warning_and_ends_the_rule_before_it() {
    let mut reported = Reported::default();
    reported.update(&[active("a")]);
    let events = reported.update(&[refused("b")]);
    assert_eq!(reasons(&events), ["RedirectRefused", "RedirectEnded"]);
    assert!(events[0].reason.is_warning() && !events[1].reason.is_warning());
    assert_eq!(reasons(&reported.update(&[refused("b")])), [""; 0]);
}

#[test]
fn falling_back_and_recovering_have_an_event_each_time() {
    let mut reported = Reported::default();
    let fallen_back = || RuleEntry { fell_back: true, ..active("a") };
    reported.update(&[active("a")]);
    assert_eq!(reasons(&reported.update(&[fallen_back()])), ["RedirectFellBack"]);
    assert_eq!(reasons(&reported.update(&[fallen_back()])), [""; 0]);
    assert_eq!(reasons(&reported.update(&[active("a")])), ["RedirectRecovered"]);
    assert_eq!(reasons(&reported.update(&[fallen_back()])), ["RedirectFellBack"]);
}

#[test]
fn a_rule_that_expires_has_one_event() {
    let mut reported = Reported::default();
    reported.update(&[active("a")]);
    let expired = || rule("a", Standing::expired("the ttl has expired"));
    assert_eq!(reasons(&reported.update(&[expired()])), ["RedirectExpired"]);
    assert_eq!(reasons(&reported.update(&[expired()])), [""; 0]);
    assert_eq!(reasons(&reported.end()), [""; 0], "it had ended");
}

#[test]
fn an_interruption_is_a_warning() {
    let mut reported = Reported::default();
    reported.update(&[active("a")]);
    let events = reported.update(&[pending("a")]);
    assert_eq!(reasons(&events), ["RedirectInterrupted"]);
    assert!(events[0].reason.is_warning());
    assert_eq!(reasons(&reported.update(&[active("a")])), ["RedirectActive"]);
}
