//! Which changes deserve an Event, as a specification.

use interceptor_api::Standing;

use super::*;

fn rule(text: &str, standing: Standing) -> RuleEntry {
    RuleEntry::bare("debug.redirect", text, standing)
}

fn active(text: &str) -> RuleEntry {
    rule(text, Standing::active("port 8080 → it"))
}

fn refused(text: &str) -> RuleEntry {
    rule(text, Standing::refused(Reason::TargetDenied, "refused"))
}

fn pending(text: &str) -> RuleEntry {
    rule(text, Standing::pending(Reason::NetnsNotFound, "no namespace"))
}

fn starting(text: &str) -> RuleEntry {
    rule(text, Standing::pending(Reason::PodNotRunning, "the pod has no address yet"))
}

fn fallen_back(reason: Reason) -> RuleEntry {
    rule("a", Standing::fell_back(reason, "the target is away; clients get the app"))
}

fn reasons(events: &[PodEvent]) -> Vec<&'static str> {
    events.iter().map(|event| event.reason.as_str()).collect()
}

#[test]
fn a_rule_has_one_event_when_it_is_active_and_one_when_it_has_ended() {
    let mut reported = Reported::default();
    assert_eq!(reasons(&reported.update(&[starting("a")])), [""; 0]);
    assert_eq!(reasons(&reported.update(&[active("a")])), ["RedirectActive"]);
    assert_eq!(reasons(&reported.update(&[active("a")])), [""; 0]);
    assert_eq!(reasons(&reported.end(EndCause::Removed)), ["RedirectEnded"]);
    assert_eq!(reasons(&reported.end(EndCause::Removed)), [""; 0]);
}

#[test]
fn another_rule_in_its_place_is_a_change() {
    let mut reported = Reported::default();
    reported.update(&[active("a")]);
    assert_eq!(reasons(&reported.update(&[active("b")])), ["RedirectChanged"]);
    // If the new rule is not active at once, the old one ends first.
    assert_eq!(reasons(&reported.update(&[starting("c")])), ["RedirectEnded"]);
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
    let refuses = || fallen_back(Reason::TargetRefuses);
    reported.update(&[active("a")]);
    let events = reported.update(&[refuses()]);
    assert_eq!(reasons(&events), ["RedirectFellBack"]);
    assert_eq!(events[0].note, "debug.redirect: the target is away; clients get the app");
    assert!(events[0].reason.is_warning());
    assert_eq!(reasons(&reported.update(&[refuses()])), [""; 0]);
    let events = reported.update(&[active("a")]);
    assert_eq!(reasons(&events), ["RedirectRecovered"]);
    assert_eq!(events[0].note, "debug.redirect: the target answers again: port 8080 → it");
    assert_eq!(reasons(&reported.update(&[refuses()])), ["RedirectFellBack"]);
}

#[test]
fn a_silent_target_that_refuses_has_not_recovered() {
    let mut reported = Reported::default();
    // It is silent from the start, so the rule never was active for clients.
    for reason in [Reason::TargetSilent, Reason::TargetRefuses] {
        assert_eq!(reasons(&reported.update(&[fallen_back(reason)])), ["RedirectFellBack"]);
    }
    assert_eq!(reasons(&reported.update(&[active("a")])), ["RedirectRecovered"]);
}

#[test]
fn a_rule_that_waits_has_one_warning_for_each_reason() {
    let waits = |reason| rule("a", Standing::pending(reason, "why"));
    for reason in [
        Reason::NetnsNotFound,
        Reason::KernelRefused,
        Reason::NameNotResolved,
        Reason::ProbeFailed,
        Reason::PortTaken,
    ] {
        let mut reported = Reported::default();
        let events = reported.update(&[waits(reason)]);
        assert_eq!(reasons(&events), ["RedirectWaiting"], "{reason}");
        assert!(events[0].reason.is_warning());
        // Another rule or daemon may serve the clients of a port that is taken.
        let clients = if reason == Reason::PortTaken { "" } else { "; clients get the app" };
        assert_eq!(events[0].note, format!("debug.redirect: {reason}: why{clients}"));
        assert_eq!(reasons(&reported.update(&[waits(reason)])), [""; 0]);
        assert_eq!(reasons(&reported.update(&[active("a")])), ["RedirectActive"]);
    }
}

#[test]
fn the_ordinary_end_of_a_pod_is_no_warning() {
    let ended = || rule("a", Standing::ended("the pod has ended (phase Succeeded)"));
    let mut reported = Reported::default();
    assert_eq!(reasons(&reported.update(&[ended()])), [""; 0], "it never was active");
    let mut reported = Reported::default();
    reported.update(&[active("a")]);
    let events = reported.update(&[ended()]);
    assert_eq!(reasons(&events), ["RedirectEnded"]);
    assert_eq!(events[0].note, "debug.redirect: the pod has ended (phase Succeeded) (rule: a)");
    assert_eq!(reasons(&reported.end(EndCause::Removed)), [""; 0]);
}

#[test]
fn the_end_of_a_rule_says_why() {
    for (cause, words) in [
        (EndCause::Removed, "the annotation was removed"),
        (EndCause::Shutdown, "the daemon on this node stops"),
    ] {
        let mut reported = Reported::default();
        reported.update(&[active("a")]);
        let note = &reported.end(cause)[0].note;
        assert!(note.contains(words) && note.ends_with("(rule: a)"), "{note}");
    }
    let mut reported = Reported::default();
    reported.update(&[active("a")]);
    let events = reported.update(&[refused("b")]);
    assert!(events[1].note.contains("the annotation was changed"), "{}", events[1].note);
    reported.update(&[active("b")]);
    let events = reported.update(&[]);
    assert!(events[0].note.contains("the annotation was removed"), "{}", events[0].note);
}

#[test]
fn a_rule_that_expires_has_one_event() {
    let mut reported = Reported::default();
    reported.update(&[active("a")]);
    let expired = || rule("a", Standing::expired("the ttl has expired"));
    assert_eq!(reasons(&reported.update(&[expired()])), ["RedirectExpired"]);
    assert_eq!(reasons(&reported.update(&[expired()])), [""; 0]);
    assert_eq!(reasons(&reported.end(EndCause::Removed)), [""; 0], "it had ended");
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
