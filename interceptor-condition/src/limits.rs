//! How much a condition may be, and may cost.
//!
//! A condition is text from anyone who may edit a pod, and it is evaluated for the requests of everybody. There are no
//! loops in it and no function whose result is larger than what goes in, so the size of the source, the depth and the
//! bytes that one evaluation may touch bound its time.

/// Bytes of source; the same as a rule may have.
pub const MAX_SOURCE: usize = interceptor_rule::MAX_CONDITION;

/// Expressions inside each other. Everything that walks an expression recurses at most this deep.
pub const MAX_DEPTH: usize = 32;

/// Bytes of one compiled regular expression, as the crate `regex` counts them.
pub const MAX_REGEX: usize = 128 * 1024;

/// Bytes of tables that a regular expression may build while it runs, for each thread.
pub(crate) const MAX_REGEX_CACHE: usize = 512 * 1024;

/// Regular expressions in one condition.
pub const MAX_REGEXES: usize = 8;

/// Bytes of a text that a regular expression is applied to.
pub const MAX_MATCHED: usize = 8 * 1024;

/// Bytes that one evaluation may copy: into longer or changed texts, and into lists.
pub const MAX_COPIED: usize = 64 * 1024;
