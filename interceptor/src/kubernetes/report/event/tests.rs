//! What is worth an Event, as a specification.

use super::*;
use crate::control::status::Standing;

fn rule(text: &str, condition: Standing) -> RuleEntry {
    RuleEntry::bare("debug.redirect", text, condition)
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

fn reasons(news: &[PodEvent]) -> Vec<&'static str> {
    news.iter().map(|news| news.reason.as_str()).collect()
}

#[test]
fn a_rule_is_told_once_when_it_is_active_and_once_when_it_has_ended() {
    let mut told = Reported::default();
    assert_eq!(reasons(&told.news(&[pending("a")])), [""; 0]);
    assert_eq!(reasons(&told.news(&[active("a")])), ["RedirectActive"]);
    assert_eq!(reasons(&told.news(&[active("a")])), [""; 0]);
    assert_eq!(reasons(&told.end()), ["RedirectEnded"]);
    assert_eq!(reasons(&told.end()), [""; 0]);
}

#[test]
fn another_rule_in_its_place_is_a_change() {
    let mut told = Reported::default();
    told.news(&[active("a")]);
    assert_eq!(reasons(&told.news(&[active("b")])), ["RedirectChanged"]);
    // Also when the new one takes a moment.
    assert_eq!(reasons(&told.news(&[pending("c")])), ["RedirectEnded"]);
    assert_eq!(reasons(&told.news(&[active("c")])), ["RedirectActive"]);
}

#[test]
fn a_refusal_is_a_warning_and_ends_what_stood_there() {
    let mut told = Reported::default();
    told.news(&[active("a")]);
    let news = told.news(&[refused("b")]);
    assert_eq!(reasons(&news), ["RedirectRefused", "RedirectEnded"]);
    assert!(news[0].reason.is_warning() && !news[1].reason.is_warning());
    assert_eq!(reasons(&told.news(&[refused("b")])), [""; 0]);
}

#[test]
fn falling_back_and_recovering_are_told_each_time() {
    let mut told = Reported::default();
    let silent = || RuleEntry { fell_back: true, ..active("a") };
    told.news(&[active("a")]);
    assert_eq!(reasons(&told.news(&[silent()])), ["RedirectFellBack"]);
    assert_eq!(reasons(&told.news(&[silent()])), [""; 0]);
    assert_eq!(reasons(&told.news(&[active("a")])), ["RedirectRecovered"]);
    assert_eq!(reasons(&told.news(&[silent()])), ["RedirectFellBack"]);
}

#[test]
fn the_end_of_its_time_is_told() {
    let mut told = Reported::default();
    told.news(&[active("a")]);
    let expired = || rule("a", Standing::expired("its time is over"));
    assert_eq!(reasons(&told.news(&[expired()])), ["RedirectExpired"]);
    assert_eq!(reasons(&told.news(&[expired()])), [""; 0]);
    assert_eq!(reasons(&told.end()), [""; 0], "it had ended");
}

#[test]
fn an_interruption_is_a_warning() {
    let mut told = Reported::default();
    told.news(&[active("a")]);
    let news = told.news(&[pending("a")]);
    assert_eq!(reasons(&news), ["RedirectInterrupted"]);
    assert!(news[0].reason.is_warning());
    assert_eq!(reasons(&told.news(&[active("a")])), ["RedirectActive"]);
}
