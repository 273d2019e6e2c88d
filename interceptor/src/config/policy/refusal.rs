//! What a developer reads when the policy refuses a rule: which limit refuses, and what to write
//! instead.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use interceptor_api::Action;
use ipnet::IpNet;

use super::address::{Dial, Reserved};

/// Why the policy refuses something.
///
/// [`Display`](fmt::Display) names the place of the policy that refuses, and a remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The address is of a reserved kind.
    #[error(
        "{ip} is refused: {kind}; {} (built in; an admin can allow it with {}: [{kind}])",
        kind.remedy(*.from),
        .place.key("targets.allowReserved")
    )]
    Reserved {
        /// The address.
        ip: IpAddr,
        /// Its kind.
        kind: Reserved,
        /// The network namespace from which the daemon dials targets.
        from: Dial,
        /// The place of the setting that allows reserved kinds.
        place: Place,
    },
    /// The address is in a denied network.
    #[error(
        "{ip} is refused by {place} ({}: {net}); choose another target, or ask the admin",
        .place.key("targets.deny")
    )]
    Denied {
        /// The address.
        ip: IpAddr,
        /// The network.
        net: IpNet,
        /// The place of the limit.
        place: Place,
    },
    /// The address is in no allowed network.
    #[error(
        "{ip} is refused by {place} ({}: [{}]); choose another target, or ask the admin",
        .place.key("targets.allow"), Listed(.allowed)
    )]
    NotAllowed {
        /// The address.
        ip: IpAddr,
        /// The allowed networks.
        allowed: Vec<IpNet>,
        /// Their place.
        place: Place,
    },
    /// The rule's `ttl` is too long.
    #[error(
        "ttl {} is refused by {place} ({}: {max}); write `ttl {max}` or less",
        Short(*.ttl), .place.key("maxTtl"), max = Short(*.max)
    )]
    Ttl {
        /// The rule's `ttl`.
        ttl: Duration,
        /// The maximum.
        max: Duration,
        /// The place of the limit.
        place: Place,
    },
    /// The rule has no `ttl`, although there is a maximum.
    #[error(
        "a rule without ttl is refused by {place} ({}: {max}); add `ttl {max}` or less",
        .place.key("maxTtl"), max = Short(*.max)
    )]
    NoTtl {
        /// The maximum.
        max: Duration,
        /// The place of the limit.
        place: Place,
    },
    /// The action is not allowed.
    #[error(
        "`debug.{action}` is refused by {place} ({}: {allowed}); ask the admin",
        .place.key("actions")
    )]
    Action {
        /// The rule's action.
        action: Action,
        /// The allowed actions.
        allowed: String,
        /// The place of the limit.
        place: Place,
    },
    /// The pod's namespace is not selected.
    #[error(
        "namespace {namespace} is refused by {place} ({}: {selector}); ask the admin to give the \
         namespace these labels",
        .place.key("namespaces")
    )]
    Namespace {
        /// The pod's namespace.
        namespace: String,
        /// The label selector of the allowed namespaces.
        selector: String,
        /// The place of the limit.
        place: Place,
    },
    /// The node would have too many rules.
    #[error(
        "{rules} rules on one node are refused by {place} ({}: {max}); ask the admin",
        .place.key("maxRulesPerNode")
    )]
    RulesPerNode {
        /// The number of rules.
        rules: usize,
        /// The maximum.
        max: usize,
        /// The place of the limit.
        place: Place,
    },
    /// The workload has too many rules.
    #[error(
        "{rules} rules on one {} are refused by {place} ({}: {max}); remove a rule, or ask the \
         admin",
        .place.workload(), .place.key("maxRules")
    )]
    Rules {
        /// The number of rules.
        rules: usize,
        /// The maximum.
        max: usize,
        /// The place of the limit.
        place: Place,
    },
}

/// The place of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The limit is the default.
    Default,
    /// A line of the policy file.
    Line {
        /// The file.
        file: Arc<str>,
        /// The line, from 1.
        line: usize,
    },
    /// The values of the Helm chart, from which the policy file is made. Developers of a cluster do
    /// not see the file.
    Chart,
}

// === impl Place ===

impl Place {
    /// The name of a setting of the policy file, as it is called at this place.
    fn key(&self, key: &str) -> String {
        match self {
            Self::Default | Self::Line { .. } => key.to_owned(),
            Self::Chart => format!("policy.{key}"),
        }
    }

    /// What the rules of one network namespace belong to, in the words of the reader.
    fn workload(&self) -> &'static str {
        match self {
            Self::Default | Self::Line { .. } => "workload",
            Self::Chart => "pod",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::Chart => f.write_str("the chart's values"),
            Self::Line { file, line } => write!(f, "{file}:{line}"),
        }
    }
}

/// The first networks of a list.
struct Listed<'a>(&'a [IpNet]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        for (index, net) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{net}", if index == 0 { "" } else { ", " })?;
        }
        if self.0.len() > SHOWN { f.write_str(", …") } else { Ok(()) }
    }
}

/// A duration as one word, as in rules.
pub(super) struct Short(pub(super) Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&humantime::format_duration(self.0).to_string().replace(' ', ""))
    }
}
