//! The errors of compiling a condition: the place, the problem, and a likely correction.

use interceptor_rule::{Position, Span};

/// Maximum length of the suggestion in a message, in bytes.
const MAX_SUGGESTION: usize = 200;

/// The reason why a text is not a condition.
///
/// [`Display`](std::fmt::Display) gives one line with the position in the condition. Code that
/// knows the place of the condition in a larger text uses [`span`](Self::span) and
/// [`message`](Self::message) instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {}", position.line, position.column, self.message())]
pub struct ConditionError {
    span: Span,
    position: Position,
    problem: Box<str>,
    suggestion: Option<Box<str>>,
}

/// A mistake without its position as line and column.
///
/// [`Mistake::of`] computes the position from the source, so that functions need not pass the
/// source around.
#[derive(Debug)]
pub(crate) struct Mistake {
    span: Span,
    problem: String,
    suggestion: Option<String>,
}

// === impl ConditionError ===

impl ConditionError {
    /// The place of the mistake, as a range of bytes in the source.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The start of the mistake in the source, as line and column.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The problem, as a sentence.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// The most likely correction, as part of a sentence.
    pub fn suggestion(&self) -> Option<&str> {
        self.suggestion.as_deref()
    }

    /// The error in one line without its position.
    ///
    /// For code that prints the position itself, because the condition is a part of a larger text.
    pub fn message(&self) -> String {
        let suggestion =
            self.suggestion.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
        format!("{}{suggestion}", self.problem)
    }

    /// The faulty line of `source`, and below it `^^^` under the mistake.
    ///
    /// `source` is the text that was compiled.
    pub fn caret(&self, source: &str) -> String {
        interceptor_rule::caret(source, self.span)
    }
}

// === impl Mistake ===

impl Mistake {
    pub(crate) fn new(span: Span, problem: impl Into<String>) -> Self {
        Self { span, problem: problem.into(), suggestion: None }
    }

    /// Adds a suggestion. A suggestion with control characters, or one that repeats a very long
    /// input, is of no use and is dropped.
    pub(crate) fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        let helps = |advice: &String| {
            advice.len() <= MAX_SUGGESTION && !advice.chars().any(char::is_control)
        };
        self.suggestion = Some(suggestion.into()).filter(helps);
        self
    }

    pub(crate) fn did_you_mean(self, what: &str) -> Self {
        self.suggest(format!("did you mean `{what}`?"))
    }

    pub(crate) fn of(self, source: &str) -> ConditionError {
        ConditionError {
            span: self.span,
            position: Position::of(source, self.span.start),
            problem: self.problem.into(),
            suggestion: self.suggestion.map(Into::into),
        }
    }
}
