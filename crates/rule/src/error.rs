//! The parser's error type.
//!
//! An error names what the parser found, where, what it expected there, and a valid rule as an
//! example.

use std::borrow::Cow;

use crate::limits::Limit;
use crate::span::{Position, Span};
use crate::visible;

/// Maximum length of the suggestion in a message, in bytes.
const MAX_SUGGESTION: usize = 200;

/// The reason why a text is not a list of rules.
///
/// [`Display`](std::fmt::Display) gives one line for logs, Events and pod conditions.
/// [`caret`](Self::caret) gives the two-line picture for terminals.
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

/// The kind of mistake, for code that counts or explains errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A rule is missing.
    Empty,
    /// The text has a control character or an invisible one.
    InvisibleCharacter,
    /// A port is invalid or missing.
    Port,
    /// The rule lists a port twice.
    DuplicatePort,
    /// The `->` between ports and target is missing.
    Arrow,
    /// The target is invalid or missing.
    Target,
    /// The target has no port.
    MissingPort,
    /// The target is followed by something other than a clause, `;` or the end.
    Clause,
    /// The rule has a clause twice.
    DuplicateClause,
    /// The condition is missing, or its quotes or brackets are not balanced.
    Condition,
    /// The share after `percent` is invalid or missing.
    Percent,
    /// The duration after `ttl` is invalid or missing.
    Ttl,
    /// The option after `with` is unknown or missing.
    With,
    /// The text exceeds (or falls below) a limit.
    Limit(Limit),
}

impl ErrorKind {
    /// A valid rule that shows how to write the faulty part.
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
    /// An error at `span`. The text that `span` covers is what the parser found.
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

    /// An error for a text that exceeds `limit` at `span`.
    pub(crate) fn limit(text: &str, limit: Limit, span: Span, found: String) -> Self {
        Self::new(text, ErrorKind::Limit(limit), span, limit.to_string()).with_found(found)
    }

    pub(crate) fn with_found(mut self, found: impl Into<Box<str>>) -> Self {
        self.found = found.into();
        self
    }

    /// Adds a suggestion. A suggestion that repeats a very long input is of no use and is dropped.
    pub(crate) fn suggest(mut self, suggestion: impl Into<Box<str>>) -> Self {
        self.suggestion =
            Some(suggestion.into()).filter(|suggestion| suggestion.len() <= MAX_SUGGESTION);
        self
    }

    /// The kind of mistake.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The place of the mistake, as a range of bytes in the parsed text.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The start of the mistake, as line and column.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What the parser found there, escaped so that it is safe to print.
    pub fn found(&self) -> &str {
        &self.found
    }

    /// What the parser expected there.
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// The most likely correction, as part of a sentence.
    pub fn suggestion(&self) -> Option<&str> {
        self.suggestion.as_deref()
    }

    /// A valid rule that shows how to write the faulty part.
    pub fn example(&self) -> &'static str {
        self.kind.example()
    }

    /// The error in one line without its position.
    ///
    /// For code that prints the position itself, because the rule is a part of a larger text.
    pub fn message(&self) -> String {
        let Self { expected, found, .. } = self;
        let suggestion =
            self.suggestion.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
        format!("expected {expected}, found {found}{suggestion} (example: `{}`)", self.example())
    }

    /// The faulty line of `text`, and below it `^^^` under the mistake.
    ///
    /// `text` is the text that the parser was given.
    pub fn caret(&self, text: &str) -> String {
        visible::caret(text, self.span)
    }
}
