//! The conditions of rules: which requests a rule redirects.
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use interceptor_condition::{Condition, Facts, Needs};
//!
//! let condition = Condition::compile("source.port > 1024 && destination.port in [80, 8080]")?;
//! assert_eq!(condition.needs(), Needs::Connection);
//!
//! let facts = Facts {
//!     source: SocketAddr::from(([10, 1, 2, 3], 40_000)),
//!     destination: SocketAddr::from(([10, 20, 0, 1], 8080)),
//!     server_name: None,
//!     request: None,
//! };
//! assert_eq!(condition.matches(&facts), Ok(true));
//!
//! let condition = Condition::compile(r#"request.headers["x-user"] == "debug""#)?;
//! assert_eq!(condition.needs(), Needs::Request);
//! # Ok::<(), interceptor_condition::ConditionError>(())
//! ```
//!
//! The language is [CEL] with the attributes of [Envoy]. A condition is checked when it is
//! compiled, including the types and the names of all its parts:
//!
//! ```
//! use interceptor_condition::Condition;
//!
//! let error = Condition::compile("request.header == 5").expect_err("no such attribute");
//! assert_eq!(
//!     error.to_string(),
//!     "line 1, column 1: there is no attribute `request.header`; did you mean `request.headers`?"
//! );
//! ```
//!
//! # The attributes
//!
//! | name | type | value |
//! |---|---|---|
//! | `request.method` | string | as sent, such as `GET` |
//! | `request.path` | string | with the query |
//! | `request.url_path` | string | without the query |
//! | `request.query` | string | without `?`; empty if there is none |
//! | `request.host` | string | `:authority` or `Host` as sent; same as `request.headers["host"]` |
//! | `request.scheme` | string | `http` or `https` |
//! | `request.protocol` | string | `HTTP/1.0`, `HTTP/1.1`, `HTTP/2` |
//! | `request.useragent` | string | same as `request.headers["user-agent"]` |
//! | `request.headers["x-user"]` | string | see below |
//! | `source.address`, `destination.address` | string | `ip:port` or `[ipv6]:port` |
//! | `source.port`, `destination.port` | int | from 0 to 65535 |
//! | `connection.requested_server_name` | string | from the TLS ClientHello; empty if none |
//!
//! Header names are lower-case. A header name without `-` can also be written as
//! `request.headers.name`. Several values of one header are joined by `,`, those of `cookie` by
//! `; `.
//!
//! # The language
//!
//! - Operators: `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `&&`, `||`, `!`, `?:`, `+`, `-`, `*`, `/`,
//!   `%`.
//! - Functions: `startsWith`, `endsWith`, `contains`, `matches`, `size`, `int`, `string`, `has`.
//! - Functions of CEL's string extension: `lowerAscii`, `upperAscii`, `trim`, `split`.
//! - Values: strings, 64-bit integers, booleans and lists.
//!
//! Conditions have no loops (`exists`, `all`, `map`, `filter`). Header names and regular
//! expressions must be literals. Every valid condition is a valid CEL expression with the same
//! value as in CEL.
//!
//! # Errors during evaluation
//!
//! Using a header that is missing, or whose value is not UTF-8, is an error, and an error is not a
//! match. So `request.headers["x-user"] != "debug"` matches only requests with that header. To test
//! for a header, write `"x-user" in request.headers` or `has(request.headers.name)`. As in CEL,
//! `true || error` and `error || true` are true, and `false && error` and `error && false` are
//! false.
//!
//! # Cost
//!
//! Comparing attributes and headers does not allocate, and neither do `in`, `matches` and `split`.
//! A header that occurs more than once is an exception, because its values are joined first.
//! [`limits`] bounds the rest.
//!
//! [CEL]: https://github.com/google/cel-spec/blob/master/doc/langdef.md
//! [Envoy]: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes

#![forbid(unsafe_code)]
#![warn(clippy::missing_errors_doc, clippy::print_stderr, clippy::print_stdout)]

mod address;
mod attribute;
mod check;
mod condition;
mod error;
mod evaluate;
mod facts;
mod form;
pub mod limits;
mod needs;
mod outcome;
mod syntax;
mod tree;

#[cfg(test)]
mod tests;

pub use attribute::attributes;
pub use condition::Condition;
pub use error::ConditionError;
pub use facts::{Facts, Request};
pub use form::Form;
pub use needs::Needs;
pub use outcome::{EvaluationError, EvaluationErrorKind};
