//! How much a condition may be, and may cost.
//!
//! A condition is text from anyone who may edit a pod, and it is evaluated for the requests of everybody. There are no
//! loops in it, so the size of its source and of the texts that it makes bound its time.

/// Bytes of source; the same as a rule may have.
pub const MAX_SOURCE: usize = interceptor_rule::MAX_CONDITION;

/// Expressions inside each other. Everything that walks an expression recurses at most this deep.
pub const MAX_DEPTH: usize = 32;

/// Bytes of one compiled regular expression, as the crate `regex` counts them.
pub const MAX_REGEX: usize = 128 * 1024;

/// Bytes of tables that a regular expression may build while it runs, for each thread.
pub(crate) const MAX_REGEX_CACHE: usize = 512 * 1024;

/// Regular expressions in one condition.
pub const MAX_REGEXES: usize = 4;

/// Characters that a regular expression is in, at once, at most: `a{30}` and `(ab|c){10}` have 30 each.
pub const MAX_REGEX_PLACES: usize = 1024;

/// Bytes of a text that a regular expression is applied to.
pub const MAX_MATCHED: usize = 8 * 1024;

/// Bytes of a text times places in the regular expression that is applied to it: its time, at worst.
pub(crate) const MAX_MATCHING: usize = 512 * 1024;

/// Bytes of a text that an evaluation makes: changed, put together, or of a header that is there more than once.
///
/// It holds for each text, not for all of them together, so that a part of a condition has the same value whatever stands
/// beside it. There can't be many in [`MAX_SOURCE`].
pub const MAX_MADE: usize = 16 * 1024;
