//! Parts of the language that parse but are not implemented yet.
//!
//! Parsing them now lets users of the crate report a missing feature, not a syntax error. Code that
//! applies rules must refuse such a rule.

use crate::ast::{Rule, Target};
use crate::span::Span;

/// A part of a rule that the daemon must refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{feature} is not supported yet")]
pub struct Unsupported {
    /// The feature that the rule uses.
    pub feature: Feature,
    /// Its place in the parsed text.
    pub span: Span,
}

/// A feature that is not supported yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// A session name as the target.
    Session,
}

impl std::fmt::Display for Feature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Session => "a session name as target",
        })
    }
}

impl Rule {
    /// The first part of this rule that is not supported yet. `None`: all of it is supported.
    pub fn unsupported(&self) -> Option<Unsupported> {
        let session = matches!(self.target, Target::Session(_));
        session.then_some(Unsupported { feature: Feature::Session, span: self.places.target })
    }
}
