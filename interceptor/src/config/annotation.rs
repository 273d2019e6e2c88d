//! Reads the rules in an annotation, of a pod or of the workloads file.

use std::num::NonZeroU16;

use interceptor_api::Action;
pub use interceptor_api::AnnotationKey;
use interceptor_condition::{Condition, ConditionError};
use interceptor_rule::{ErrorKind, ParseError, Ports, Rule, SessionName, Span, Unsupported};

/// The TCP ports that a workload declares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeclaredPorts {
    /// Their numbers, each once.
    pub numbers: Vec<NonZeroU16>,
    /// Their names, as far as they have any.
    pub names: Vec<(String, NonZeroU16)>,
}

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
    #[error("`debug.mirror` is not supported yet; use `debug.redirect`")]
    Mirror,
    /// The part after the `/` is not a valid developer's name. The text is a valid key.
    #[error("expected a name of lower-case letters, digits and `-` after the `/` (example: `{0}`)")]
    Developer(String),
    /// The key is nearly one of interceptor's keys, which the text is.
    #[error("unknown annotation, did you mean `{0}`?")]
    Misspelt(String),
    /// A name in the place of a port's number.
    #[error("expected {}, found {}; {advice}", .error.expected(), .error.found())]
    PortName {
        /// The parser's error.
        error: ParseError,
        /// The number to write, as part of a sentence.
        advice: String,
    },
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
    declared: &DeclaredPorts,
) -> Result<Vec<Rule>, Problem> {
    if let Some(meant) = key.misspelt() {
        return Err(Problem::Misspelt(meant.to_owned()));
    }
    // A developer's name has the form of a session's name.
    if let Some(developer) = key.developer()
        && SessionName::new(developer).is_err()
    {
        return Err(Problem::Developer(format!("{}/{}", key.action().key(), valid(developer))));
    }
    match key.action() {
        Action::Redirect => {}
        Action::Mirror => return Err(Problem::Mirror),
    }
    let rules = interceptor_rule::parse(value).map_err(|error| declared.explain(value, error))?;
    for rule in &rules {
        if let Some(unsupported) = rule.unsupported() {
            return Err(unsupported.into());
        }
        if let Some((error, span)) = wrong_condition(rule) {
            return Err(Problem::Condition { error, span });
        }
        if rule.ports == Ports::Declared && declared.numbers.is_empty() {
            let target = rule.places().target;
            return Err(Problem::NoPorts { target: target.of(value).to_owned(), span: target });
        }
    }
    Ok(rules)
}

/// A valid name for a developer that is close to `name`.
fn valid(name: &str) -> String {
    let chars = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let name: String = chars.map(|c| c.to_ascii_lowercase()).take(63).collect();
    let name = name.trim_matches('-');
    if SessionName::new(name).is_ok() { name.to_owned() } else { "alice".to_owned() }
}

// === impl DeclaredPorts ===

impl DeclaredPorts {
    /// Adds the port's number to an error about a name in its place, as in `http -> laptop:3000`.
    fn explain(&self, value: &str, error: ParseError) -> Problem {
        let word = error.span().of(value);
        // The port behind a colon is the target's, which the pod's spec does not name.
        let is_target = value[..error.span().start].ends_with(':');
        let is_name = word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if error.kind() != ErrorKind::Port || is_target || !is_name || self.names.is_empty() {
            return error.into();
        }
        let known = self.names.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        let advice = match known {
            Some((_, number)) => {
                format!("write its number: the pod declares port {number} as `{word}`")
            }
            None => {
                let all = self.names.iter().map(|(name, number)| format!("{number} (`{name}`)"));
                format!("write a number: the pod declares {}", all.collect::<Vec<_>>().join(", "))
            }
        };
        Problem::PortName { error, advice }
    }
}

impl From<&[NonZeroU16]> for DeclaredPorts {
    fn from(numbers: &[NonZeroU16]) -> Self {
        Self { numbers: numbers.to_vec(), names: Vec::new() }
    }
}

// === impl Problem ===

impl Problem {
    /// The place in the annotation's value; `None` if the key is wrong.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Parse(error) | Self::PortName { error, .. } => Some(error.span()),
            Self::Unsupported(unsupported) => Some(unsupported.span),
            Self::Condition { span, .. } | Self::NoPorts { span, .. } => Some(*span),
            Self::Mirror | Self::Developer(_) | Self::Misspelt(_) => None,
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
    #[case("debug.redirect/Bob.B_2", "8080 -> a:1", Some(("expected a name of lower-case letters, digits and `-` \
        after the `/` (example: `debug.redirect/bob-b-2`)", None)))]
    #[case("debug.redirect/", "8080 -> a:1", Some(("expected a name of lower-case letters, digits and `-` \
        after the `/` (example: `debug.redirect/alice`)", None)))]
    #[case("debug.redirct", "8080 -> a:1", Some(("unknown annotation, did you mean `debug.redirect`?", None)))]
    #[case("debug.miror/bob", "8080 -> a:1", Some(("unknown annotation, did you mean `debug.mirror/bob`?", None)))]
    #[case("debug/redirect", "8080 -> a:1", Some(("unknown annotation, did you mean `debug.redirect`?", None)))]
    #[case("debug.redirect.alice", "8080 -> a:1", Some(("unknown annotation, did you mean `debug.redirect/alice`?", None)))]
    #[case("debug.mirror", "8080 -> a:1", Some(("`debug.mirror` is not supported yet; use `debug.redirect`", None)))]
    #[case("debug.redirect", "8080 -> alice", Some(("a session name as target is not supported yet; \
        if `alice` is a host, add a port: `alice:3000`", Some("alice"))))]
    #[case("debug.redirect", "8 -> a:1; 9 -> a:1 when true && x", Some(("there is no attribute `x`; write strings in quotes", Some("x"))))]
    #[case("debug.redirect", "8 -> a:1 when source.port == 1 percent 5", None)]
    #[case("debug.redirect", " a:1", Some(("expected ports before the target, because the workload declares none \
        (example: `8080 -> a:1`)", Some("a:1"))))]
    #[case("debug.redirect", "8080", Some(("expected a target: `host:port` or `[ipv6]:port`, found \
        `8080`; did you mean `8080 -> host:3000`? (example: `8080 -> 10.20.0.7:3000`)", Some("8080"))))]
    fn values(
        #[case] key: &str,
        #[case] value: &str,
        #[case] problem: Option<(&str, Option<&str>)>,
    ) {
        assert_eq!(problem_of(key, value, &DeclaredPorts::default()), problem.map(owned));
    }

    fn owned((message, place): (&str, Option<&str>)) -> (String, Option<String>) {
        (message.to_owned(), place.map(str::to_owned))
    }

    fn problem_of(
        key: &str,
        value: &str,
        declared: &DeclaredPorts,
    ) -> Option<(String, Option<String>)> {
        let key = AnnotationKey::new(key).expect("is ours");
        let problem = parse(&key, value, declared).err()?;
        Some((problem.to_string(), problem.span().map(|span| span.of(value).to_owned())))
    }

    fn port(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).expect("is not zero")
    }

    #[rstest]
    #[case("http -> a:1", "http", "write its number: the pod declares port 8080 as `http`")]
    #[case("HTTP -> 3000", "HTTP", "write its number: the pod declares port 8080 as `HTTP`")]
    #[case(
        "9090, web -> a:1",
        "web",
        "write a number: the pod declares 8080 (`http`), 9090 (`metrics`)"
    )]
    fn the_name_of_a_port_is_refused_with_its_number(
        #[case] value: &str,
        #[case] place: &str,
        #[case] advice: &str,
    ) {
        let names = vec![("http".to_owned(), port(8080)), ("metrics".to_owned(), port(9090))];
        let declared = DeclaredPorts { numbers: vec![port(8080), port(9090)], names };
        let message = format!("expected a port from 1 to 65535, found `{place}`; {advice}");
        let expected = owned((&message, Some(place)));
        assert_eq!(problem_of("debug.redirect", value, &declared), Some(expected));
    }

    #[test]
    fn the_name_of_a_target_port_is_not_one_of_the_pod() {
        let names = vec![("http".to_owned(), port(8080))];
        let declared = DeclaredPorts { numbers: vec![port(8080)], names };
        let (message, _) =
            problem_of("debug.redirect", "8080 -> a:http", &declared).expect("is refused");
        assert!(message.contains("did you mean `8080 -> a:80`?"), "{message}");
    }

    #[test]
    fn a_rule_without_ports_takes_the_declared_ports() {
        let declared = DeclaredPorts::from(&[NonZeroU16::MIN][..]);
        let rules = parse(&AnnotationKey::redirect(), "a:1", &declared).expect("has ports");
        assert_eq!(rules[0].ports, Ports::Declared);
    }
}
