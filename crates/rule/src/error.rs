//! The one error of the parser: what was found, where, what was expected there, and what a valid rule looks
//! like.

use std::borrow::Cow;

use crate::limits::Limit;
use crate::span::{Position, Span};
use crate::visible;

/// Bytes of advice in a message.
const MAX_SUGGESTION: usize = 200;

/// Why a text is not a list of rules.
///
/// [`Display`](std::fmt::Display) gives one line for logs, events and conditions; [`caret`](Self::caret)
/// gives the picture for terminals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {}", position.line, position.column, self.message())]
pub struct ParseError {
    kind: ErrorKind,
    span: Span,
    position: Position,
    found: Box<str>,
    expected: Cow<'static, str>,
    suggestion: Option<Box<str>>,
}

/// The kind of mistake, for callers that count or explain errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no rule where one has to be.
    Empty,
    /// A control character, or one that can't be seen.
    InvisibleCharacter,
    /// Not a port.
    Port,
    /// A port that the rule lists already.
    DuplicatePort,
    /// No `->` between ports and target.
    Arrow,
    /// Not a target.
    Target,
    /// A target without a port.
    MissingPort,
    /// Not a clause.
    Clause,
    /// A clause that the rule has already.
    DuplicateClause,
    /// Not a condition.
    Condition,
    /// Not a share.
    Percent,
    /// Not a duration.
    Ttl,
    /// Not an option of `with`.
    With,
    /// Larger (or smaller) than a limit.
    Limit(Limit),
}

impl ErrorKind {
    /// A valid rule that shows how to write the part in question.
    pub fn example(self) -> &'static str {
        match self {
            Self::Condition => {
                r#"8080 -> 10.20.0.7:3000 when request.headers["x-user"] == "alice""#
            }
            Self::Limit(Limit::Condition) => {
                r#"8080 -> 10.20.0.7:3000 when request.path == "/cart""#
            }
            Self::Percent => "8080 -> 10.20.0.7:3000 percent 5",
            Self::Ttl | Self::Clause | Self::DuplicateClause => "8080 -> 10.20.0.7:3000 ttl 8h",
            Self::Limit(Limit::MinTtl | Limit::MaxTtl) => "8080 -> 10.20.0.7:3000 ttl 8h",
            Self::With => "8080 -> 10.20.0.7:3000 with proxy-v2",
            Self::DuplicatePort | Self::Limit(Limit::Ports) => "8080,8081 -> 10.20.0.7:3000",
            Self::Limit(Limit::Rules) => "8080 -> 10.20.0.7:3000; 9090 -> laptop.example:9090",
            _ => "8080 -> 10.20.0.7:3000",
        }
    }
}

impl ParseError {
    /// An error at `span`, which is also what was found.
    pub(crate) fn new(
        text: &str,
        kind: ErrorKind,
        span: Span,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        let found = match span.of(text) {
            "" => "the end of the text".to_owned(),
            covered => visible::quoted(covered),
        };
        let position = Position::of(text, span.start);
        Self {
            kind,
            span,
            position,
            found: found.into(),
            expected: expected.into(),
            suggestion: None,
        }
    }

    /// The text is larger than `limit`, from `span` on.
    pub(crate) fn limit(text: &str, limit: Limit, span: Span, found: String) -> Self {
        Self::new(text, ErrorKind::Limit(limit), span, limit.to_string()).with_found(found)
    }

    pub(crate) fn with_found(mut self, found: impl Into<Box<str>>) -> Self {
        self.found = found.into();
        self
    }

    /// Adds advice. Advice that repeats a very long input helps nobody and is left out.
    pub(crate) fn suggest(mut self, suggestion: impl Into<Box<str>>) -> Self {
        self.suggestion =
            Some(suggestion.into()).filter(|suggestion| suggestion.len() <= MAX_SUGGESTION);
        self
    }

    /// The kind of mistake.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where it is, in bytes.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Where it begins, as editors count.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What stands there; escaped, so that it can be printed.
    pub fn found(&self) -> &str {
        &self.found
    }

    /// What should stand there.
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// What was probably meant.
    pub fn suggestion(&self) -> Option<&str> {
        self.suggestion.as_deref()
    }

    /// A valid rule.
    pub fn example(&self) -> &'static str {
        self.kind.example()
    }

    /// The error in one line, without the place; for callers that know the place in a larger text.
    pub fn message(&self) -> String {
        let Self { expected, found, .. } = self;
        let suggestion =
            self.suggestion.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
        format!("expected {expected}, found {found}{suggestion} (example: `{}`)", self.example())
    }

    /// The line of `text` with the mistake and `^^^` under the place. `text` is what was given to the parser.
    pub fn caret(&self, text: &str) -> String {
        visible::caret(text, self.span)
    }
}
