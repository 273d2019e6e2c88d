//! Parts of the language that are understood but that nothing can carry out yet.
//!
//! They are parsed so that a text stays valid when support arrives. Until then a caller must refuse such a
//! rule: to drop a `when` would redirect everybody's traffic.

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
    /// A condition.
    When,
    /// A share of the connections.
    Percent,
    /// A session name as the target.
    Session,
}

impl std::fmt::Display for Feature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::When => "`when`",
            Self::Percent => "`percent`",
            Self::Session => "a session name as target",
        })
    }
}

impl Rule {
    /// The first part of this rule that is not supported yet, in the order of the text.
    pub fn unsupported(&self) -> Option<Unsupported> {
        let places = self.places;
        let session = matches!(self.target, Target::Session(_)).then_some(places.target);
        let when = self.when.as_ref().map(|_| places.when.unwrap_or(places.rule));
        let percent = self.percent.map(|_| places.percent.unwrap_or(places.rule));
        [(Feature::Session, session), (Feature::When, when), (Feature::Percent, percent)]
            .into_iter()
            .filter_map(|(feature, span)| Some(Unsupported { feature, span: span? }))
            .min_by_key(|unsupported| unsupported.span.start)
    }
}
