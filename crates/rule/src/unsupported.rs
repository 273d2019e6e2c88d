//! Parts of the language that parse but are not implemented yet.
//!
//! Parsing them now lets users of the crate report a missing feature, not a syntax error. Code that
//! applies rules must refuse such a rule.

use interceptor_common::port::Protocol;

use crate::advice;
use crate::ast::{Ports, Rule, Target};
use crate::span::Span;

/// A part of a rule that the daemon must refuse. [`Display`](std::fmt::Display) has the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{feature} is not supported yet; {advice}")]
pub struct Unsupported {
    /// The feature that the rule uses.
    pub feature: Feature,
    /// What to write instead, as part of a sentence.
    pub advice: String,
    /// Its place in the parsed text.
    pub span: Span,
}

/// A feature that is not supported yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// A UDP port.
    Udp,
    /// A session name as the target.
    Session,
}

impl std::fmt::Display for Feature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Udp => "a UDP port",
            Self::Session => "a session name as target",
        })
    }
}

impl Rule {
    /// The first part of this rule, in the order of the text, that is not supported yet. `None` if
    /// all of it is supported.
    pub fn unsupported(&self) -> Option<Unsupported> {
        let Self { ports, target, places, .. } = self;
        let is_udp = match ports {
            Ports::Declared => false,
            Ports::Listed(ports) => ports.iter().any(|port| port.protocol() == Protocol::Udp),
        };
        if is_udp {
            let span = places.udp.unwrap_or(places.rule);
            let advice = "leave it out, because a rule redirects TCP only".to_owned();
            return Some(Unsupported { feature: Feature::Udp, advice, span });
        }
        let Target::Session(name) = target else { return None };
        let advice = advice::for_session(name.as_str());
        Some(Unsupported { feature: Feature::Session, advice, span: places.target })
    }
}
