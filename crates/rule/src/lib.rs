//! The language of the annotation `debug.redirect`: which connections go where.
//!
//! ```
//! let rules = interceptor_rule::parse("8080, 8443 -> 10.20.0.7:3000 ttl 8h; laptop.example:9090")?;
//! assert_eq!(rules[0].to_string(), "8080,8443 -> 10.20.0.7:3000 ttl 8h");
//! assert_eq!(rules[1].ports, interceptor_rule::Ports::Declared);
//! # Ok::<(), interceptor_rule::ParseError>(())
//! ```
//!
//! A mistake is answered with what was found, where, what was expected, and an example:
//!
//! ```
//! let text = "8080 => 10.20.0.7:3000";
//! let error = interceptor_rule::parse(text).expect_err("an arrow is `->`");
//! assert_eq!(
//!     error.to_string(),
//!     "line 1, column 6: expected `->` between the ports and the target, found `=>`; \
//!      did you mean `->`? (example: `8080 -> 10.20.0.7:3000`)"
//! );
//! assert_eq!(error.caret(text), "8080 => 10.20.0.7:3000\n     ^^");
//! ```
//!
//! The language is larger than what can be carried out today: ask [`Rule::unsupported`] and refuse such a
//! rule. Nothing here does I/O, and no text makes the parser panic or take more than linear time.

#![forbid(unsafe_code)]

mod ast;
mod error;
mod lexer;
mod limits;
mod name;
mod parser;
mod span;
mod suggest;
mod target;
mod unsupported;
mod visible;

#[cfg(test)]
mod tests;

pub use ast::{Condition, Percent, Places, Ports, ProxyProtocol, Rule, Target};
pub use error::{ErrorKind, ParseError};
pub use limits::{Limit, MAX_CONDITION, MAX_PORTS, MAX_RULE_TEXT, MAX_RULES, MAX_TTL, MIN_TTL};
pub use name::{HostName, InvalidName, SessionName};
pub use parser::parse;
pub use span::{Position, Span};
pub use suggest::nearest;
pub use unsupported::{Feature, Unsupported};

/// The line of `text` in which `span` begins, with `^^^` under the span; see [`ParseError::caret`].
///
/// Tabs are shown as spaces, control and invisible characters as escapes, and of a long line only the
/// surroundings of the span. Each character counts as one column, which is wrong for double-width scripts.
pub fn caret(text: &str, span: Span) -> String {
    visible::caret(text, span)
}

/// `text` in backticks for a message: control and invisible characters escaped, and cut if it is long.
pub fn quoted(text: &str) -> String {
    visible::quoted(text)
}
