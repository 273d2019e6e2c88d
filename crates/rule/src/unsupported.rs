//! Parts of the language that are understood but that nothing can carry out yet.
//!
//! They are parsed so that a text stays valid when support arrives. Until then a caller must refuse such a rule.

use crate::ast::{Rule, Target};
use crate::span::Span;

/// A part of a rule that has to be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{feature} is not supported yet")]
pub struct Unsupported {
    /// What the rule asks for.
    pub feature: Feature,
    /// Where it stands in the parsed text.
    pub span: Span,
}

/// What is not supported yet.
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
    /// The first part of this rule that is not supported yet, in the order of the text.
    pub fn unsupported(&self) -> Option<Unsupported> {
        let session = matches!(self.target, Target::Session(_));
        session.then_some(Unsupported { feature: Feature::Session, span: self.places.target })
    }
}
