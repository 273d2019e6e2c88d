//! The conditions of rules: which requests a rule takes.
//!
//! ```
//! use interceptor_condition::{Condition, Needs};
//!
//! let condition = Condition::compile(r#"request.headers["x-user"] == "debug" && request.method in ["GET", "HEAD"]"#)?;
//! assert_eq!(condition.needs(), Needs::Request);
//! # Ok::<(), interceptor_condition::ConditionError>(())
//! ```
//!
//! The language is [CEL] with the attributes of [Envoy]. Everything that can be known to be wrong is an error when the
//! condition is compiled:
//!
//! ```
//! let error = interceptor_condition::Condition::compile("request.header == 5").expect_err("there is no such attribute");
//! assert_eq!(
//!     error.to_string(),
//!     "line 1, column 1: there is no attribute `request.header`; did you mean `request.headers`?"
//! );
//! ```
//!
//! # The attributes
//!
//! | name | type | |
//! |---|---|---|
//! | `request.method` | string | |
//! | `request.path` | string | with the query |
//! | `request.url_path` | string | without the query |
//! | `request.query` | string | without `?`; empty if there is none |
//! | `request.host` | string | `:authority` or `Host`, with the port if that was sent; `request.headers["host"]` is the same |
//! | `request.scheme` | string | |
//! | `request.protocol` | string | `HTTP/1.0`, `HTTP/1.1`, `HTTP/2` |
//! | `request.useragent` | string | the same as `request.headers["user-agent"]` |
//! | `request.headers["x-user"]` | string | in lower case; several values are joined by `,`, cookies by `; `; `request.headers.name` is the same |
//! | `source.address`, `destination.address` | string | `ip:port`, `[ip]:port` for IPv6, as in Envoy |
//! | `source.port`, `destination.port` | int | |
//! | `connection.requested_server_name` | string | the name in the TLS ClientHello; empty if there is none |
//!
//! # The language
//!
//! `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `&&`, `||`, `!`, `?:`, `+`, `-`, `*`, `/`, `%`; `startsWith`, `endsWith`, `contains`,
//! `matches`, `size`, `int`, `string`, `has`; of the extension for strings `lowerAscii`, `upperAscii`, `trim` and `split`. Values
//! are strings, whole numbers, `true`, `false` and lists. A condition has no loops (`exists`, `all`, `map`, `filter`), and
//! the name of a header and a regular expression are literals. Every condition is an expression of CEL with CEL's value.
//!
//! # What has no answer
//!
//! A header that is not there, or whose value is not UTF-8, is an error where its value is used, and an error is no
//! match: `request.headers["x-user"] != "debug"` matches only requests that have the header. `"x-user" in
//! request.headers` and `has(request.headers.name)` ask whether it is there. As in CEL, `true || error` and `error || true` are
//! true, `false && error` and `error && false` are false.
//!
//! # What it costs
//!
//! Comparing attributes and headers with anything allocates nothing, nor does `in`, `matches` or `split`; a header that
//! was sent more than once is put together first. [`limits`] bounds the rest.
//!
//! [CEL]: https://github.com/google/cel-spec/blob/master/doc/langdef.md
//! [Envoy]: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes

#![forbid(unsafe_code)]

mod address;
mod attribute;
mod check;
mod condition;
mod error;
mod evaluate;
mod facts;
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
pub use needs::Needs;
pub use outcome::{EvaluationError, EvaluationErrorKind};
