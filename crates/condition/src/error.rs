//! What is wrong with a condition, found when it is read: where, what, and what was probably meant.

use interceptor_rule::{Position, Span};

/// Bytes of advice in a message.
const MAX_SUGGESTION: usize = 200;

/// Why a text is not a condition.
///
/// [`Display`](std::fmt::Display) gives one line with the place in the condition. Who knows the place of the condition in
/// a larger text takes [`span`](Self::span) and [`message`](Self::message).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {}", position.line, position.column, self.message())]
pub struct ConditionError {
    span: Span,
    position: Position,
    problem: Box<str>,
    suggestion: Option<Box<str>>,
}

/// A mistake without the source, which [`Mistake::of`] adds; so that functions need not hand the source around.
#[derive(Debug)]
pub(crate) struct Mistake {
    span: Span,
    problem: String,
    suggestion: Option<String>,
}

// === impl ConditionError ===

impl ConditionError {
    /// Where it is, in bytes of the condition's source.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Where it begins in the condition, as editors count.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What is wrong.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What was probably meant.
    pub fn suggestion(&self) -> Option<&str> {
        self.suggestion.as_deref()
    }

    /// The error in one line, without the place; for callers that know the place in a larger text.
    pub fn message(&self) -> String {
        let suggestion =
            self.suggestion.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
        format!("{}{suggestion}", self.problem)
    }

    /// The line of `source` with the mistake and `^^^` under the place. `source` is what was compiled.
    pub fn caret(&self, source: &str) -> String {
        interceptor_rule::caret(source, self.span)
    }
}

// === impl Mistake ===

impl Mistake {
    pub(crate) fn new(span: Span, problem: impl Into<String>) -> Self {
        Self { span, problem: problem.into(), suggestion: None }
    }

    /// Adds advice. Advice that repeats a very long input helps nobody and is left out, as is what can't be shown.
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
