//! An expression as it was written, each part with its place.

use interceptor_rule::Span;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expression {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
    /// How many expressions are inside each other, this one included.
    pub(crate) depth: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Bool(bool),
    Number(i64),
    Text(Box<str>),
    List(Vec<Expression>),
    Name(Box<str>),
    /// `of.field`
    Select {
        of: Box<Expression>,
        field: Name,
    },
    /// `of[index]`
    Index {
        of: Box<Expression>,
        index: Box<Expression>,
    },
    /// `function(arguments)`, `on.function(arguments)`
    Call {
        function: Name,
        on: Option<Box<Expression>>,
        arguments: Vec<Expression>,
    },
    Not(Box<Expression>),
    Negate(Box<Expression>),
    Binary {
        operator: Binary,
        at: Span,
        sides: Box<[Expression; 2]>,
    },
    /// All operands of `a && b && c`.
    All(Vec<Expression>),
    /// All operands of `a || b || c`.
    Any(Vec<Expression>),
    /// `condition ? yes : no`
    Choice(Box<[Expression; 3]>),
}

/// An identifier and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Name {
    pub(crate) text: Box<str>,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

// === impl Expression ===

impl Expression {
    /// `a.b.c` as text, if it is names with points and nothing else.
    pub(crate) fn path(&self) -> Option<String> {
        match &self.kind {
            Kind::Name(name) => Some(name.to_string()),
            Kind::Select { of, field } => Some(format!("{}.{}", of.path()?, field.text)),
            _ => None,
        }
    }

    /// The same expression, as if it had been written at `span`, which includes the brackets around it.
    pub(crate) fn at(mut self, span: Span) -> Self {
        self.span = span;
        self
    }
}
