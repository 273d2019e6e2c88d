//! The limits of a condition's size and cost.
//!
//! A condition comes from any user who may edit the pod, and the daemon evaluates it for every
//! client's requests. Conditions have no loops, so the size of the source and of the texts made
//! during an evaluation bounds the time.

/// Maximum size of the source, in bytes. The rule language has the same limit.
pub const MAX_SOURCE: usize = interceptor_rule::MAX_CONDITION;

/// Maximum nesting of expressions. It bounds the recursion of all code that walks an expression.
pub const MAX_DEPTH: usize = 32;

/// Maximum size of one compiled regular expression in bytes, as the crate `regex` counts them.
pub const MAX_REGEX: usize = 128 * 1024;

/// Maximum size of the tables that a regular expression builds while it runs, in bytes per thread.
pub(crate) const MAX_REGEX_CACHE: usize = 512 * 1024;

/// Maximum number of regular expressions in one condition.
pub const MAX_REGEXES: usize = 4;

/// Maximum number of positions in which a regular expression can be while it matches. For example,
/// `a{30}` and `(ab|c){10}` have 30 positions each.
pub const MAX_REGEX_PLACES: usize = 1024;

/// Maximum length of a text that a regular expression is applied to, in bytes. It is that of a
/// request's head; [`MAX_MATCHING`] limits the cost.
pub const MAX_MATCHED: usize = 64 * 1024;

/// Maximum cost of one match: bytes of the text times positions in the regular expression.
pub const MAX_MATCHING: usize = 512 * 1024;

/// Maximum length of a text that an evaluation makes, in bytes: changed, concatenated, or the
/// joined values of a header that occurs more than once.
///
/// The limit holds for each text by itself, so that a part of a condition has the same value
/// regardless of the other parts. A source of [`MAX_SOURCE`] bytes can't make many texts.
pub const MAX_MADE: usize = 16 * 1024;
