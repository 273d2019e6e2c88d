//! How large a rule may be.
//!
//! An annotation is text from anyone who may edit a pod, so each size has a fixed limit and each limit its
//! own error. The limits are far above what a person writes by hand.

use std::fmt;
use std::time::Duration;

/// Bytes in one annotation value, all its rules together.
pub const MAX_RULE_TEXT: usize = 8 * 1024;

/// Rules in one annotation value.
pub const MAX_RULES: usize = 16;

/// Ports in front of the `->` of one rule.
pub const MAX_PORTS: usize = 64;

/// Bytes in the condition after `when`.
pub const MAX_CONDITION: usize = 2 * 1024;

/// The shortest `ttl`.
pub const MIN_TTL: Duration = Duration::from_secs(1);

/// The longest `ttl`.
pub const MAX_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The limit that a text went over.
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
            Self::RuleText => {
                write!(f, "at most {MAX_RULE_TEXT} bytes in one annotation (MAX_RULE_TEXT)")
            }
            Self::Rules => write!(f, "at most {MAX_RULES} rules in one annotation (MAX_RULES)"),
            Self::Ports => write!(f, "at most {MAX_PORTS} ports in one rule (MAX_PORTS)"),
            Self::Condition => {
                write!(
                    f,
                    "at most {MAX_CONDITION} bytes in the condition of `when` (MAX_CONDITION)"
                )
            }
            Self::MinTtl => {
                write!(f, "a `ttl` of at least {} (MIN_TTL)", humantime::format_duration(MIN_TTL))
            }
            Self::MaxTtl => {
                write!(f, "a `ttl` of at most {} (MAX_TTL)", humantime::format_duration(MAX_TTL))
            }
        }
    }
}
