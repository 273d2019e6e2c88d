//! The rule language of the annotation `debug.redirect`: which connections go to which target.
//!
//! ```
//! let text = "8080, 8443 -> 10.20.0.7:3000 ttl 8h; laptop.example:9090";
//! let rules = interceptor_rule::parse(text)?;
//! assert_eq!(rules[0].to_string(), "8080,8443 -> 10.20.0.7:3000 ttl 8h");
//! assert_eq!(rules[1].ports, interceptor_rule::Ports::Declared);
//! # Ok::<(), interceptor_rule::ParseError>(())
//! ```
//!
//! An error names the position, what the parser expected and found there, and a valid example:
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
//! The language has features that the daemon does not implement yet. Code that applies rules asks
//! [`Rule::unsupported`] and refuses such a rule.
//!
//! The crate does no I/O. The parser takes time linear in the length of the text, and no text makes
//! it panic.

#![forbid(unsafe_code)]
#![warn(clippy::missing_errors_doc, clippy::print_stderr, clippy::print_stdout)]

mod advice;
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

pub use interceptor_common::port::{Port, Protocol};

pub use ast::{Condition, Local, Percent, Places, Ports, ProxyProtocol, Rule, Target};
pub use error::{ErrorKind, ParseError};
pub use limits::{Limit, MAX_CONDITION, MAX_PORTS, MAX_RULE_TEXT, MAX_RULES, MAX_TTL, MIN_TTL};
pub use name::{HostName, InvalidName, SessionName};
pub use parser::parse;
pub use span::{Position, Span};
pub use suggest::nearest;
pub use unsupported::{Feature, Unsupported};

/// The line of `text` in which `span` begins, and below it `^^^` under the span.
///
/// Tabs become spaces, and control and invisible characters become escapes. A long line is cut
/// around the span. Each character counts as one column, which is wrong for double-width scripts.
/// [`ParseError::caret`] does this for an error.
pub fn caret(text: &str, span: Span) -> String {
    visible::caret(text, span)
}

/// Puts `text` in backticks for a message. Control and invisible characters are escaped, and a long
/// text is cut.
pub fn quoted(text: &str) -> String {
    visible::quoted(text)
}
