//! The limits of a rule's size.
//!
//! An annotation comes from any user who may edit the pod, so each size has a fixed limit. Each
//! limit has an error of its own. The limits are far above what people write by hand.

use std::fmt;
use std::time::Duration;

/// Maximum size of one annotation value with all its rules, in bytes.
pub const MAX_RULE_TEXT: usize = 8 * 1024;

/// Maximum number of rules in one annotation value.
pub const MAX_RULES: usize = 16;

/// Maximum number of ports in one rule.
pub const MAX_PORTS: usize = 64;

/// Maximum size of the condition after `when`, in bytes.
pub const MAX_CONDITION: usize = 2 * 1024;

/// Minimum value of `ttl`.
pub const MIN_TTL: Duration = Duration::from_secs(1);

/// Maximum value of `ttl`.
pub const MAX_TTL: Duration = Duration::from_secs(30 * SECS_OF_DAY);

const SECS_OF_DAY: u64 = 24 * 60 * 60;

/// A limit that a text violates. [`Display`](fmt::Display) completes the sentence "expected …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// [`MAX_RULE_TEXT`]
    RuleText,
    /// [`MAX_RULES`]
    Rules,
    /// [`MAX_PORTS`]
    Ports,
    /// [`MAX_CONDITION`]
    Condition,
    /// [`MIN_TTL`]
    MinTtl,
    /// [`MAX_TTL`]
    MaxTtl,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RuleText => write!(f, "at most {MAX_RULE_TEXT} bytes in one annotation"),
            Self::Rules => write!(f, "at most {MAX_RULES} rules in one annotation"),
            Self::Ports => write!(f, "at most {MAX_PORTS} ports in one rule"),
            Self::Condition => {
                write!(f, "at most {MAX_CONDITION} bytes in the condition of `when`")
            }
            Self::MinTtl => {
                write!(f, "a `ttl` of at least {}", humantime::format_duration(MIN_TTL))
            }
            Self::MaxTtl => {
                write!(f, "a `ttl` of at most {} days", MAX_TTL.as_secs() / SECS_OF_DAY)
            }
        }
    }
}
