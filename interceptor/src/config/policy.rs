//! The admin's limits on targets, actions and namespaces, and on the number and `ttl` of rules.
//!
//! A refusal names the line of the policy that it comes from. A developer then knows what to ask
//! the admin for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

pub use interceptor_api::Action;
use ipnet::IpNet;

mod file;
#[cfg(test)]
mod tests;

/// The limits without a policy file.
const DEFAULT_MAX_RULES: usize = 16;
const DEFAULT_MAX_RULES_PER_NODE: usize = 1024;
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The admin's limits. The default is the policy of a daemon without a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The network namespace from which the daemon dials targets.
    pub dial: Dial,
    /// Maximum time for a target to accept a connection.
    pub connect_timeout: Duration,
    max_rules: Setting<usize>,
    max_rules_per_node: Setting<usize>,
    actions: Option<Setting<Vec<Action>>>,
    namespaces: Option<Setting<String>>,
    max_ttl: Option<Setting<Duration>>,
    allow: Option<Setting<Vec<IpNet>>>,
    deny: Vec<Setting<IpNet>>,
    allow_reserved: Vec<Reserved>,
}

/// The network namespace from which the daemon dials targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dial {
    /// That of the workload, with its routes and network policies.
    #[default]
    Pod,
    /// That of the daemon.
    Node,
}

/// Kinds of addresses that are refused unless the admin allows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reserved {
    /// The loopback addresses.
    Loopback,
    /// Link-local addresses, such as a cloud's metadata service, and the IPv6 addresses of such
    /// services.
    LinkLocal,
    /// Multicast addresses, and the IPv4 broadcast address.
    Multicast,
    /// `0.0.0.0/8` and `::`.
    Unspecified,
    /// Addresses of the node that the daemon runs on.
    Node,
}

/// Why the policy refuses something. [`Display`](fmt::Display) names the line of the policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The address is of a reserved kind.
    #[error(
        "{ip} is refused: {kind} \
         (built in; an admin can allow it with targets.allowReserved: [{kind}])"
    )]
    Reserved {
        /// The address.
        ip: IpAddr,
        /// Its kind.
        kind: Reserved,
    },
    /// The address is in a denied network.
    #[error("{ip} is refused by {place} (targets.deny: {net})")]
    Denied {
        /// The address.
        ip: IpAddr,
        /// The network.
        net: IpNet,
        /// The place of the limit.
        place: Place,
    },
    /// The address is in no allowed network.
    #[error("{ip} is not in targets.allow ({place})")]
    NotAllowed {
        /// The address.
        ip: IpAddr,
        /// The place of the allowed networks.
        place: Place,
    },
    /// The rule's `ttl` is too long.
    #[error("ttl {} is refused by {place} (maxTtl: {})", Short(*.ttl), Short(*.max))]
    Ttl {
        /// The rule's `ttl`.
        ttl: Duration,
        /// The maximum.
        max: Duration,
        /// The place of the limit.
        place: Place,
    },
    /// The rule has no `ttl`, although there is a maximum.
    #[error("a rule without ttl is refused by {place} (maxTtl: {})", Short(*.max))]
    NoTtl {
        /// The maximum.
        max: Duration,
        /// The place of the limit.
        place: Place,
    },
    /// The action is not allowed.
    #[error("`debug.{action}` is refused by {place} (actions: {allowed})")]
    Action {
        /// The rule's action.
        action: Action,
        /// The allowed actions.
        allowed: String,
        /// The place of the limit.
        place: Place,
    },
    /// The pod's namespace is not selected.
    #[error("namespace {namespace} is refused by {place} (namespaces: {selector})")]
    Namespace {
        /// The pod's namespace.
        namespace: String,
        /// The label selector of the allowed namespaces.
        selector: String,
        /// The place of the limit.
        place: Place,
    },
    /// The node would have too many rules.
    #[error("{rules} rules on one node are refused by {place} (maxRulesPerNode: {max})")]
    RulesPerNode {
        /// The number of rules.
        rules: usize,
        /// The maximum.
        max: usize,
        /// The place of the limit.
        place: Place,
    },
    /// The workload has too many rules.
    #[error("{rules} rules on one workload are refused by {place} (maxRules: {max})")]
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
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting<T> {
    value: T,
    place: Place,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            dial: Dial::default(),
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            max_rules: Setting { value: DEFAULT_MAX_RULES, place: Place::Default },
            max_rules_per_node: Setting {
                value: DEFAULT_MAX_RULES_PER_NODE,
                place: Place::Default,
            },
            actions: None,
            namespaces: None,
            max_ttl: None,
            allow: None,
            deny: Vec::new(),
            allow_reserved: Vec::new(),
        }
    }
}

// === judging ===

impl Policy {
    /// Decides whether `ip` may be a target: first by reserved kinds, then by `deny`, then by
    /// `allow`.
    ///
    /// An IPv4-mapped IPv6 address counts as IPv4. `is_node_address` is called at most once.
    ///
    /// # Errors
    /// The policy refuses the address.
    pub fn judge_target(
        &self,
        ip: IpAddr,
        is_node_address: impl FnOnce(IpAddr) -> bool,
    ) -> Result<(), Refusal> {
        let ip = ip.to_canonical();
        let reserved = reserved(ip).or_else(|| is_node_address(ip).then_some(Reserved::Node));
        if let Some(kind) = reserved.filter(|kind| !self.allow_reserved.contains(kind)) {
            return Err(Refusal::Reserved { ip, kind });
        }
        if let Some(deny) = self.deny.iter().find(|deny| deny.value.contains(&ip)) {
            return Err(Refusal::Denied { ip, net: deny.value, place: deny.place.clone() });
        }
        match &self.allow {
            Some(allow) if !allow.value.iter().any(|net| net.contains(&ip)) => {
                Err(Refusal::NotAllowed { ip, place: allow.place.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Decides whether a rule may have this `ttl`, or none.
    ///
    /// # Errors
    /// The `ttl` is longer than the maximum, or missing although there is a maximum.
    pub fn judge_ttl(&self, ttl: Option<Duration>) -> Result<(), Refusal> {
        let Some(Setting { value: max, place }) = &self.max_ttl else { return Ok(()) };
        match ttl {
            None => Err(Refusal::NoTtl { max: *max, place: place.clone() }),
            Some(ttl) if ttl > *max => Err(Refusal::Ttl { ttl, max: *max, place: place.clone() }),
            Some(_) => Ok(()),
        }
    }

    /// Decides whether one workload may have this number of rules.
    ///
    /// # Errors
    /// The number is above the maximum.
    pub fn judge_rules(&self, rules: usize) -> Result<(), Refusal> {
        let Setting { value: max, place } = &self.max_rules;
        if rules > *max {
            return Err(Refusal::Rules { rules, max: *max, place: place.clone() });
        }
        Ok(())
    }

    /// Decides whether all workloads together may have this number of rules.
    ///
    /// # Errors
    /// The number is above the maximum.
    pub fn judge_rules_per_node(&self, rules: usize) -> Result<(), Refusal> {
        let Setting { value: max, place } = &self.max_rules_per_node;
        if rules > *max {
            return Err(Refusal::RulesPerNode { rules, max: *max, place: place.clone() });
        }
        Ok(())
    }

    /// Decides whether rules may have this action.
    ///
    /// # Errors
    /// The policy does not list the action.
    pub fn judge_action(&self, action: Action) -> Result<(), Refusal> {
        match &self.actions {
            Some(actions) if !actions.value.contains(&action) => {
                let allowed: Vec<_> = actions.value.iter().map(ToString::to_string).collect();
                let allowed = format!("[{}]", allowed.join(", "));
                Err(Refusal::Action { action, allowed, place: actions.place.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The label selector of the namespaces whose pods may have rules; `None` if all may.
    pub fn namespaces(&self) -> Option<&str> {
        self.namespaces.as_ref().map(|selector| selector.value.as_str())
    }

    /// The refusal for a pod of `namespace`, which the selector does not select. `None` without a
    /// selector.
    pub fn refuse_namespace(&self, namespace: &str) -> Option<Refusal> {
        let Setting { value: selector, place } = self.namespaces.as_ref()?;
        Some(Refusal::Namespace {
            namespace: namespace.to_owned(),
            selector: selector.clone(),
            place: place.clone(),
        })
    }

    /// Maximum number of rules that one workload may have.
    pub fn max_rules(&self) -> usize {
        self.max_rules.value
    }

    /// Maximum `ttl` of a rule; `None` if rules may stay in force for ever.
    pub fn max_ttl(&self) -> Option<Duration> {
        self.max_ttl.as_ref().map(|setting| setting.value)
    }
}

/// The reserved kind of `ip`, except [`Reserved::Node`], which depends on the node. `ip` must not
/// be an IPv4-mapped IPv6 address.
fn reserved(ip: IpAddr) -> Option<Reserved> {
    if ip.is_loopback() {
        return Some(Reserved::Loopback);
    }
    if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Some(Reserved::Multicast);
    }
    let (link_local, unspecified) = match ip {
        // All of 0.0.0.0/8 means "this host" (RFC 1122).
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[0] == 0),
        IpAddr::V6(ip) => {
            (ip.is_unicast_link_local() || is_cloud_metadata(ip), ip.is_unspecified())
        }
    };
    match (link_local, unspecified) {
        (true, _) => Some(Reserved::LinkLocal),
        (_, true) => Some(Reserved::Unspecified),
        _ => None,
    }
}

/// Whether a cloud serves metadata and credentials of instances at this address.
///
/// In IPv4 these are link-local addresses. In IPv6 those need the name of a link, so clouds use
/// unique local addresses (RFC 4193) instead.
fn is_cloud_metadata(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        // AWS: ::254, ::23 for Pod Identity of EKS, and other services in the same network.
        [0xfd00, 0x0ec2, ..] => true,
        // Google Cloud.
        [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => true,
        // Scaleway.
        [0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042] => true,
        _ => false,
    }
}

// === printing ===

/// The names of the kinds in the policy file.
const RESERVED: [(&str, Reserved); 5] = [
    ("loopback", Reserved::Loopback),
    ("linkLocal", Reserved::LinkLocal),
    ("multicast", Reserved::Multicast),
    ("unspecified", Reserved::Unspecified),
    ("node", Reserved::Node),
];

impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = RESERVED.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::Line { file, line } => write!(f, "{file}:{line}"),
        }
    }
}

/// A duration as one word, as in rules.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&humantime::format_duration(self.0).to_string().replace(' ', ""))
    }
}
