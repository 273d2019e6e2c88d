//! A compiled condition.

use std::fmt;

use interceptor_rule::Span;

use crate::check;
use crate::error::{ConditionError, Mistake};
use crate::evaluate::Evaluation;
use crate::facts::Facts;
use crate::form::Form;
use crate::limits::MAX_SOURCE;
use crate::needs::Needs;
use crate::outcome::EvaluationError;
use crate::syntax::parser;
use crate::tree::Predicate;

/// A compiled condition. Two conditions are equal when their sources are.
#[derive(Debug, Clone)]
pub struct Condition {
    source: Box<str>,
    predicate: Predicate,
    needs: Needs,
}

// === impl Condition ===

impl Condition {
    /// Compiles the CEL expression `source`.
    ///
    /// # Errors
    /// - `source` is not an expression of the language.
    /// - A part has the wrong type, or names an unknown attribute or function.
    /// - `source` exceeds one of the [`limits`](crate::limits).
    /// - A comparison can only have one result, or a constant part has no value.
    pub fn compile(source: &str) -> Result<Self, ConditionError> {
        let compile = || {
            if source.len() > MAX_SOURCE {
                let beyond = Span::new(source.floor_char_boundary(MAX_SOURCE), source.len());
                return Err(Mistake::new(
                    beyond,
                    format!("a condition has at most {MAX_SOURCE} bytes"),
                ));
            }
            check::check(source, &parser::parse(source)?)
        };
        let predicate = compile().map_err(|mistake| mistake.of(source))?;
        let needs = predicate.needs().unwrap_or(Needs::Connection);
        Ok(Self { source: source.into(), predicate, needs })
    }

    /// The source, as given to [`compile`](Self::compile).
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The facts that must be known before the condition can be evaluated.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// The result, if it is the same for all requests.
    pub fn constant(&self) -> Option<bool> {
        match self.predicate {
            Predicate::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// The canonical form, which conditions with the same meaning share.
    pub fn form(&self) -> Form {
        Form::of(&self.predicate, self.needs)
    }

    /// Evaluates the condition.
    ///
    /// `facts` may lack some of what the condition [`needs`](Self::needs). A result (`Ok`) stays
    /// the same when more facts become known.
    ///
    /// # Errors
    /// The condition uses a value that is missing, unknown, out of range or too long. Treat an
    /// error as "does not match", and count it.
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
