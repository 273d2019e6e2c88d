//! A compiled condition.

use std::fmt;

use interceptor_rule::Span;

use crate::check;
use crate::error::{ConditionError, Mistake};
use crate::evaluate::Evaluation;
use crate::facts::Facts;
use crate::limits::MAX_SOURCE;
use crate::needs::Needs;
use crate::outcome::EvaluationError;
use crate::syntax::parser;
use crate::tree::Predicate;

/// A condition that was read and checked. Two are equal when their sources are.
#[derive(Debug, Clone)]
pub struct Condition {
    source: Box<str>,
    predicate: Predicate,
    needs: Needs,
}

// === impl Condition ===

impl Condition {
    /// Reads a condition.
    pub fn compile(source: &str) -> Result<Self, ConditionError> {
        let compile = || {
            if source.len() > MAX_SOURCE {
                let beyond = Span::new(source.floor_char_boundary(MAX_SOURCE), source.len());
                return Err(Mistake::new(
                    beyond,
                    format!("a condition has at most {MAX_SOURCE} bytes (MAX_SOURCE)"),
                ));
            }
            check::check(source, &parser::parse(source)?)
        };
        let predicate = compile().map_err(|mistake| mistake.of(source))?;
        let needs = predicate.needs().unwrap_or(Needs::Connection);
        Ok(Self { source: source.into(), predicate, needs })
    }

    /// The text that was compiled.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What has to be known for a decision.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// The answer, if it is the same whatever is asked about.
    pub fn constant(&self) -> Option<bool> {
        match self.predicate {
            Predicate::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// Does it match? An error means no; the caller counts it.
    ///
    /// May be asked before everything is known that it needs: an answer is final then.
    pub fn matches(&self, facts: &Facts<'_>) -> Result<bool, EvaluationError> {
        Evaluation::new(facts).predicate(&self.predicate)
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Condition {}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}
