//! Which annotations are ours, and what they say. The same for pods and for the workloads file.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;

use interceptor_condition::{Condition, ConditionError};
use interceptor_rule::{ParseError, Ports, Rule, SessionName, Span, Unsupported};

/// Takes connections away from the workload.
const REDIRECT: &str = "debug.redirect";
/// Copies connections.
const MIRROR: &str = "debug.mirror";

/// The key of an annotation of ours: `debug.redirect`, `debug.mirror`, either with `/developer` behind it. It
/// keeps what was written, even if that is misspelt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnotationKey(Arc<str>);

/// Why an annotation has no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The value is not a list of rules.
    #[error("{}", .0.message())]
    Parse(#[from] ParseError),
    /// A rule asks for something that can't be done yet.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The condition of a rule is wrong.
    #[error("{}", .error.message())]
    Condition {
        /// What is wrong with it.
        error: ConditionError,
        /// Where, in the value.
        span: Span,
    },
    /// A rule without ports, on a workload that declares none.
    #[error(
        "expected ports in front of the target, because the workload declares none (example: `8080 -> {target}`)"
    )]
    NoPorts {
        /// The rule's target as it was written.
        target: String,
        /// The place of the rule.
        span: Span,
    },
    /// `debug.mirror`
    #[error("`debug.mirror` is not supported yet")]
    Mirror,
    /// The part behind the `/` is not a developer's name.
    #[error(
        "expected a name of lower-case letters, digits and `-` behind the `/` (example: `debug.redirect/alice`)"
    )]
    Developer,
    /// Probably meant to be one of ours.
    #[error("unknown annotation, did you mean `{0}`?")]
    Misspelt(&'static str),
}

impl AnnotationKey {
    /// The key without a developer's name.
    pub fn redirect() -> Self {
        Self(REDIRECT.into())
    }

    /// Nothing if `key` is none of our business. A key that is nearly ours is ours, so that somebody is told.
    pub fn new(key: &str) -> Option<Self> {
        let kind = key.split('/').next().unwrap_or(key);
        (kind == REDIRECT || kind == MIRROR || near(kind).is_some()).then(|| Self(key.into()))
    }

    /// The key as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it asks for copies, however it is spelt.
    pub fn is_mirror(&self) -> bool {
        let kind = self.0.split('/').next().unwrap_or(&self.0);
        near(kind).unwrap_or(kind) == MIRROR
    }

    /// The part behind the `/`.
    pub fn developer(&self) -> Option<&str> {
        self.0.split_once('/').map(|(_, developer)| developer)
    }

    /// The rules that `value` gives a workload with `declared` ports. Rules that ask for more than we can do
    /// are refused, never thinned out.
    pub fn rules(&self, value: &str, declared: &[NonZeroU16]) -> Result<Vec<Rule>, Problem> {
        let kind = self.0.split('/').next().unwrap_or(&self.0);
        if let Some(meant) = near(kind) {
            return Err(Problem::Misspelt(meant));
        }
        // A session's name has the form of a developer's name.
        if self.developer().is_some_and(|developer| SessionName::new(developer).is_err()) {
            return Err(Problem::Developer);
        }
        if kind == MIRROR {
            return Err(Problem::Mirror);
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
}

impl Problem {
    /// The place in the annotation's value, if it is there and not in the key.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Parse(error) => Some(error.span()),
            Self::Unsupported(unsupported) => Some(unsupported.span),
            Self::Condition { span, .. } | Self::NoPorts { span, .. } => Some(*span),
            Self::Mirror | Self::Developer | Self::Misspelt(_) => None,
        }
    }
}

impl fmt::Display for AnnotationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_debug().fmt(f)
    }
}

/// What is wrong with the rule's condition, and where in the text that the rule was read from.
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

/// The key that somebody who wrote `kind` probably meant; nothing for the keys themselves.
fn near(kind: &str) -> Option<&'static str> {
    let word = kind.strip_prefix("debug.").or_else(|| kind.strip_prefix("debug-"))?;
    // Annotations of others, e.g. `debug.example.com/level`, are not looked at.
    if word.contains('.') || word.len() > "redirect".len() + 2 {
        return None;
    }
    let mistakes = |meant: &str| {
        let (same_start, same_end) =
            (same(word.chars(), meant.chars()), same(word.chars().rev(), meant.chars().rev()));
        let longest = word.chars().count().max(meant.chars().count());
        longest.saturating_sub(same_start + same_end)
    };
    [REDIRECT, MIRROR].into_iter().find(|key| {
        let meant = &key["debug.".len()..];
        // One letter wrong, missing or too many, or two that changed places.
        *key != kind
            && (mistakes(meant) <= 1 || (mistakes(meant) == 2 && letters(word) == letters(meant)))
    })
}

fn letters(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

/// How many characters are the same from the beginning on.
fn same(a: impl Iterator<Item = char>, b: impl Iterator<Item = char>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("debug.redirect", true)]
    #[case("debug.redirect/alice", true)]
    #[case("debug.mirror", true)]
    #[case("debug.redirct", true)]
    #[case("debug.redirects/alice", true)]
    #[case("debug.Mirror", true)]
    #[case("debug-redirect", true)]
    #[case("debug.redierct", true)]
    #[case("debug.level", false)]
    #[case("debug.error", false)]
    #[case("debug.minor", false)]
    #[case("debug.direct", false)]
    #[case("debug.example.com/redirect", false)]
    #[case("debug.", false)]
    #[case("redirect", false)]
    #[case("other.example/foo", false)]
    #[case("", false)]
    fn keys_of_ours(#[case] key: &str, #[case] ours: bool) {
        assert_eq!(AnnotationKey::new(key).is_some(), ours);
    }

    #[rstest]
    #[case("debug.redirect", "8080 -> a:1", None)]
    #[case("debug.redirect/alice", "8080 -> a:1; 80 -> b:2", None)]
    #[case("debug.redirect/Alice", "8080 -> a:1", Some(("expected a name of lower-case letters, digits and `-` \
        behind the `/` (example: `debug.redirect/alice`)", None)))]
    #[case("debug.redirect/", "8080 -> a:1", Some(("expected a name of lower-case letters, digits and `-` \
        behind the `/` (example: `debug.redirect/alice`)", None)))]
    #[case("debug.redirct", "8080 -> a:1", Some(("unknown annotation, did you mean `debug.redirect`?", None)))]
    #[case("debug.miror/bob", "8080 -> a:1", Some(("unknown annotation, did you mean `debug.mirror`?", None)))]
    #[case("debug.mirror", "8080 -> a:1", Some(("`debug.mirror` is not supported yet", None)))]
    #[case("debug.redirect", "8080 -> alice", Some(("a session name as target is not supported yet", Some("alice"))))]
    #[case("debug.redirect", "8 -> a:1; 9 -> a:1 when true && x", Some(("there is no attribute `x`; write strings in quotes", Some("x"))))]
    #[case("debug.redirect", "8 -> a:1 when source.port == 1 percent 5", None)]
    #[case("debug.redirect", " a:1", Some(("expected ports in front of the target, because the workload declares none \
        (example: `8080 -> a:1`)", Some("a:1"))))]
    #[case("debug.redirect", "8080", Some(("expected a target: `host:port`, `[ipv6]:port` or a session name, found \
        `8080`; did you mean `8080 -> host:port`? (example: `8080 -> 10.20.0.7:3000`)", Some("8080"))))]
    fn values(
        #[case] key: &str,
        #[case] value: &str,
        #[case] problem: Option<(&str, Option<&str>)>,
    ) {
        let key = AnnotationKey::new(key).expect("is ours");
        let found = key.rules(value, &[]).err();
        let found =
            found.map(|problem| (problem.to_string(), problem.span().map(|span| span.of(value))));
        assert_eq!(found, problem.map(|(message, place)| (message.to_owned(), place)));
    }

    #[test]
    fn a_rule_without_ports_takes_the_declared_ones() {
        let rules = AnnotationKey::redirect().rules("a:1", &[NonZeroU16::MIN]).expect("has ports");
        assert_eq!(rules[0].ports, Ports::Declared);
    }
}
