//! The errors of evaluating a condition.

use std::fmt;

use interceptor_rule::Span;

/// The reason why a condition is neither true nor false for a request. It does not match then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{kind}")]
pub struct EvaluationError {
    /// The kind of the error. Metrics count errors by kind.
    pub kind: EvaluationErrorKind,
    /// The part of the condition that failed, as a range of bytes in its source.
    pub span: Span,
}

/// The kind of an evaluation error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EvaluationErrorKind {
    /// The request has no such header.
    MissingHeader,
    /// There is no request, or the ClientHello has not arrived.
    NotKnown,
    /// A text is not a number, a number is out of range, or a list has no such item.
    BadValue,
    /// A text is longer than [`MAX_MADE`](crate::limits::MAX_MADE) or
    /// [`MAX_MATCHED`](crate::limits::MAX_MATCHED).
    TooCostly,
}

// === impl EvaluationError ===

impl EvaluationError {
    pub(crate) fn new(kind: EvaluationErrorKind, span: Span) -> Self {
        Self { kind, span }
    }

    /// The error with the part of `source` that failed. `source` is the source of the condition.
    pub fn describe(&self, source: &str) -> String {
        format!("{}: {}", interceptor_rule::quoted(self.span.of(source)), self.kind)
    }
}

// === impl EvaluationErrorKind ===

impl EvaluationErrorKind {
    /// Every kind.
    pub const ALL: [Self; 4] =
        [Self::MissingHeader, Self::NotKnown, Self::BadValue, Self::TooCostly];

    /// The value of the metrics label.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingHeader => "missing_header",
            Self::NotKnown => "not_known",
            Self::BadValue => "bad_value",
            Self::TooCostly => "too_costly",
        }
    }
}

impl fmt::Display for EvaluationErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MissingHeader => "the request has no such header",
            Self::NotKnown => "the value is not known for this connection",
            Self::BadValue => "not a number, out of range, or no such item",
            Self::TooCostly => "the text is too long",
        })
    }
}
