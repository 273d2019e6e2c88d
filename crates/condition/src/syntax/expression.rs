//! The syntax tree. Each part has its place in the source.

use interceptor_rule::Span;

/// A node of the syntax tree.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expression {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
    /// The height of the tree below this node, itself included. `parser::node` sets and limits it.
    pub(crate) depth: usize,
}

/// The kind of a node, with its children.
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
        /// The place of the operator.
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

/// A binary operator other than `&&` and `||`.
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
    /// The text `a.b.c`, if the expression consists of names and dots only.
    pub(crate) fn path(&self) -> Option<String> {
        match &self.kind {
            Kind::Name(name) => Some(name.to_string()),
            Kind::Select { of, field } => Some(format!("{}.{}", of.path()?, field.text)),
            _ => None,
        }
    }

    /// The same expression at `span`, which includes the parentheses around it.
    pub(crate) fn at(mut self, span: Span) -> Self {
        self.span = span;
        self
    }
}
