//! The typed tree of a checked condition. Its Rust types rule out type errors.

use interceptor_rule::Span;
use regex::Regex;

use crate::attribute::{NumberAttribute, TextAttribute};
use crate::needs::Needs;

/// A part that is true or false.
#[derive(Debug, Clone)]
pub(crate) enum Predicate {
    Constant(bool),
    Not(Box<Predicate>),
    All(Box<[Predicate]>),
    Any(Box<[Predicate]>),
    /// Equality of two booleans.
    Same(Box<[Predicate; 2]>),
    Choice(Box<(Predicate, Predicate, Predicate)>),
    Text(Relation, Box<[Text; 2]>),
    /// Tests whether the first text begins with, ends with or contains the second.
    Part(Part, Box<[Text; 2]>),
    Matches(Box<(Text, Pattern)>, Span),
    TextIn(Box<(Text, Texts)>),
    Number(Relation, Box<[Number; 2]>),
    NumberIn(Box<(Number, Box<[Number]>)>),
    /// `has(…)`, and `"name" in request.headers`.
    Present(Text),
}

/// A compiled regular expression.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) regex: Regex,
    /// Maximum length of a text that it is applied to, in bytes.
    pub(crate) longest: usize,
}

/// A part whose value is a string.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    Constant(Box<str>),
    Attribute(TextAttribute, Span),
    /// A header by its lower-case name.
    Header(Box<str>, Span),
    Joined(Box<[Text; 2]>, Span),
    Changed(Change, Box<Text>, Span),
    Number(Box<Number>),
    Item(Box<(Texts, Number)>, Span),
    Choice(Box<(Predicate, Text, Text)>),
}

/// A part whose value is a signed 64-bit integer.
#[derive(Debug, Clone)]
pub(crate) enum Number {
    Constant(i64),
    Attribute(NumberAttribute),
    /// The number of characters of a text.
    Characters(Box<Text>),
    /// The number of items of a list.
    Items(Box<Texts>),
    Parsed(Box<Text>, Span),
    Negated(Box<Number>, Span),
    Calculated(Calculation, Box<[Number; 2]>, Span),
    Choice(Box<(Predicate, Number, Number)>),
}

/// A part whose value is a list of strings.
#[derive(Debug, Clone)]
pub(crate) enum Texts {
    Listed(Box<[Text]>),
    /// A text split at a separator, which is never empty.
    Split(Box<Text>, Box<str>),
}

/// The operator of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The place at which a text must have another text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Start,
    End,
    Anywhere,
}

/// A change of a string. The result is never longer than the string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    LowerCase,
    UpperCase,
    Trimmed,
}

/// An arithmetic operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calculation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

// The facts that each part needs. `None` means that the part is a constant.

impl Predicate {
    pub(crate) fn needs(&self) -> Option<Needs> {
        match self {
            Self::Constant(_) => None,
            Self::Not(inner) => inner.needs(),
            Self::All(operands) | Self::Any(operands) => {
                operands.iter().filter_map(Self::needs).max()
            }
            Self::Same(sides) => sides.iter().filter_map(Self::needs).max(),
            Self::Choice(parts) => parts.0.needs().max(parts.1.needs()).max(parts.2.needs()),
            Self::Text(_, sides) | Self::Part(_, sides) => {
                sides.iter().filter_map(Text::needs).max()
            }
            Self::Matches(parts, _) => parts.0.needs(),
            Self::TextIn(parts) => parts.0.needs().max(parts.1.needs()),
            Self::Number(_, sides) => sides.iter().filter_map(Number::needs).max(),
            Self::NumberIn(parts) => {
                parts.0.needs().max(parts.1.iter().filter_map(Number::needs).max())
            }
            Self::Present(text) => text.needs(),
        }
    }
}

impl Text {
    pub(crate) fn needs(&self) -> Option<Needs> {
        match self {
            Self::Constant(_) => None,
            Self::Attribute(attribute, _) => Some(attribute.needs()),
            Self::Header(..) => Some(Needs::Request),
            Self::Joined(sides, _) => sides.iter().filter_map(Self::needs).max(),
            Self::Changed(_, of, _) => of.needs(),
            Self::Number(number) => number.needs(),
            Self::Item(parts, _) => parts.0.needs().max(parts.1.needs()),
            Self::Choice(parts) => parts.0.needs().max(parts.1.needs()).max(parts.2.needs()),
        }
    }
}

impl Number {
    pub(crate) fn needs(&self) -> Option<Needs> {
        match self {
            Self::Constant(_) => None,
            Self::Attribute(_) => Some(Needs::Connection),
            Self::Characters(of) | Self::Parsed(of, _) => of.needs(),
            Self::Items(of) => of.needs(),
            Self::Negated(of, _) => of.needs(),
            Self::Calculated(_, sides, _) => sides.iter().filter_map(Self::needs).max(),
            Self::Choice(parts) => parts.0.needs().max(parts.1.needs()).max(parts.2.needs()),
        }
    }
}

impl Texts {
    pub(crate) fn needs(&self) -> Option<Needs> {
        match self {
            Self::Listed(items) => items.iter().filter_map(Text::needs).max(),
            Self::Split(text, _) => text.needs(),
        }
    }
}

impl Relation {
    /// Tells whether two values in this order satisfy the relation.
    pub(crate) fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}
