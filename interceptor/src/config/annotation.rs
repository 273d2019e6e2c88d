//! Reads the rules in an annotation, of a pod or of the workloads file.

use std::num::NonZeroU16;

use interceptor_api::Action;
pub use interceptor_api::AnnotationKey;
use interceptor_condition::{Condition, ConditionError};
use interceptor_rule::{ParseError, Ports, Rule, SessionName, Span, Unsupported};

/// Why an annotation has no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The value is not a list of rules.
    #[error("{}", .0.message())]
    Parse(#[from] ParseError),
    /// A rule asks for something that is not built yet.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The condition of a rule is invalid.
    #[error("{}", .error.message())]
    Condition {
        /// What is wrong with the condition.
        error: ConditionError,
        /// The place in the annotation's value.
        span: Span,
    },
    /// A rule without ports, on a workload that declares none.
    #[error(
        "expected ports before the target, because the workload declares none \
         (example: `8080 -> {target}`)"
    )]
    NoPorts {
        /// The rule's target, as written.
        target: String,
        /// The place of the target in the annotation's value.
        span: Span,
    },
    /// The annotation is `debug.mirror`, which is not built yet.
    #[error("`debug.mirror` is not supported yet")]
    Mirror,
    /// The part after the `/` is not a valid developer's name.
    #[error(
        "expected a name of lower-case letters, digits and `-` after the `/` \
         (example: `debug.redirect/alice`)"
    )]
    Developer,
    /// The key is nearly one of interceptor's keys.
    #[error("unknown annotation, did you mean `{0}`?")]
    Misspelt(&'static str),
}

/// The rules that the annotation `key` with this `value` gives a workload with `declared` ports.
///
/// An annotation that asks for anything unsupported is refused as a whole.
///
/// # Errors
/// The first problem of the key or the value.
pub fn parse(
    key: &AnnotationKey,
    value: &str,
    declared: &[NonZeroU16],
) -> Result<Vec<Rule>, Problem> {
    if let Some(meant) = key.misspelt() {
        return Err(Problem::Misspelt(meant));
    }
    // A developer's name has the form of a session's name.
    if key.developer().is_some_and(|developer| SessionName::new(developer).is_err()) {
        return Err(Problem::Developer);
    }
    match key.action() {
        Action::Redirect => {}
        Action::Mirror => return Err(Problem::Mirror),
    }
    let rules = interceptor_rule::parse(value)?;
    for rule in &rules {
        if let Some(unsupported) = rule.unsupported() {
            return Err(unsupported.into());
        }
        if let Some((error, span)) = wrong_condition(rule) {
            return Err(Problem::Condition { error, span });
        }
        if rule.ports == Ports::Declared && declared.is_empty() {
            let target = rule.places().target;
            return Err(Problem::NoPorts { target: target.of(value).to_owned(), span: target });
        }
    }
    Ok(rules)
}

impl Problem {
    /// The place in the annotation's value; `None` if the key is wrong.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Parse(error) => Some(error.span()),
            Self::Unsupported(unsupported) => Some(unsupported.span),
            Self::Condition { span, .. } | Self::NoPorts { span, .. } => Some(*span),
            Self::Mirror | Self::Developer | Self::Misspelt(_) => None,
        }
    }
}

/// The error of the rule's condition, and its place in the text that the rule was parsed from.
///
/// `None` if the condition is valid, or if the rule has none.
#[must_use]
pub fn wrong_condition(rule: &Rule) -> Option<(ConditionError, Span)> {
    let when = rule.when.as_ref()?;
    let error = Condition::compile(when.source()).err()?;
    // The part `when …` ends with the condition.
    let place = rule.places().when.unwrap_or(rule.places().rule);
    let start = place.end.saturating_sub(when.source().len());
    let span = error.span();
    Some((error, Span { start: start + span.start, end: start + span.end }))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("debug.redirect", "8080 -> a:1", None)]
    #[case("debug.redirect/alice", "8080 -> a:1; 80 -> b:2", None)]
    #[case("debug.redirect/Alice", "8080 -> a:1", Some(("expected a name of lower-case letters, digits and `-` \
        after the `/` (example: `debug.redirect/alice`)", None)))]
    #[case("debug.redirect/", "8080 -> a:1", Some(("expected a name of lower-case letters, digits and `-` \
        after the `/` (example: `debug.redirect/alice`)", None)))]
    #[case("debug.redirct", "8080 -> a:1", Some(("unknown annotation, did you mean `debug.redirect`?", None)))]
    #[case("debug.miror/bob", "8080 -> a:1", Some(("unknown annotation, did you mean `debug.mirror`?", None)))]
    #[case("debug.mirror", "8080 -> a:1", Some(("`debug.mirror` is not supported yet", None)))]
    #[case("debug.redirect", "8080 -> alice", Some(("a session name as target is not supported yet", Some("alice"))))]
    #[case("debug.redirect", "8 -> a:1; 9 -> a:1 when true && x", Some(("there is no attribute `x`; write strings in quotes", Some("x"))))]
    #[case("debug.redirect", "8 -> a:1 when source.port == 1 percent 5", None)]
    #[case("debug.redirect", " a:1", Some(("expected ports before the target, because the workload declares none \
        (example: `8080 -> a:1`)", Some("a:1"))))]
    #[case("debug.redirect", "8080", Some(("expected a target: `host:port`, `[ipv6]:port` or a session name, found \
        `8080`; did you mean `8080 -> host:port`? (example: `8080 -> 10.20.0.7:3000`)", Some("8080"))))]
    fn values(
        #[case] key: &str,
        #[case] value: &str,
        #[case] problem: Option<(&str, Option<&str>)>,
    ) {
        let key = AnnotationKey::new(key).expect("is ours");
        let found = parse(&key, value, &[]).err();
        let found =
            found.map(|problem| (problem.to_string(), problem.span().map(|span| span.of(value))));
        assert_eq!(found, problem.map(|(message, place)| (message.to_owned(), place)));
    }

    #[test]
    fn a_rule_without_ports_takes_the_declared_ports() {
        let rules =
            parse(&AnnotationKey::redirect(), "a:1", &[NonZeroU16::MIN]).expect("has ports");
        assert_eq!(rules[0].ports, Ports::Declared);
    }
}
