//! The admin's limits: where connections may go, how many rules a workload may have, and for how long.
//!
//! A refusal names the line of the policy that it comes from, so that a developer knows what to ask the admin
//! for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

pub use interceptor_api::Action;
use ipnet::IpNet;

mod file;
#[cfg(test)]
mod tests;

/// What holds without a policy file.
const DEFAULT_MAX_RULES: usize = 16;
const DEFAULT_MAX_RULES_PER_NODE: usize = 1024;
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The admin's limits. The default is that of a daemon without a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// From which network namespace targets are dialled.
    pub dial: Dial,
    /// How long a target may take to accept a connection.
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

/// From which network namespace targets are dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dial {
    /// From that of the workload: its routes and network policies hold.
    #[default]
    Pod,
    /// From that of the daemon.
    Node,
}

/// Addresses that are refused unless the admin allows their kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reserved {
    /// The machine itself.
    Loopback,
    /// Only this link, e.g. the metadata service of a cloud; and where clouds have that in IPv6.
    LinkLocal,
    /// Groups, and the IPv4 broadcast address.
    Multicast,
    /// No address at all.
    Unspecified,
    /// An address of the node that the daemon runs on.
    Node,
}

/// Why something is refused. [`Display`](fmt::Display) names the line of the policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An address of a kind that is not allowed.
    #[error(
        "{ip} is refused: {kind} (built in; an admin can allow it with targets.allowReserved: [{kind}])"
    )]
    Reserved {
        /// The address.
        ip: IpAddr,
        /// Its kind.
        kind: Reserved,
    },
    /// An address in a denied network.
    #[error("{ip} is refused by {place} (targets.deny: {net})")]
    Denied {
        /// The address.
        ip: IpAddr,
        /// The network.
        net: IpNet,
        /// Where that is written.
        place: Place,
    },
    /// An address outside of all allowed networks.
    #[error("{ip} is not in targets.allow ({place})")]
    NotAllowed {
        /// The address.
        ip: IpAddr,
        /// Where the allowed networks are written.
        place: Place,
    },
    /// A rule that holds too long.
    #[error("ttl {} is refused by {place} (maxTtl: {})", Spoken(*.ttl), Spoken(*.max))]
    Ttl {
        /// What the rule asks for.
        ttl: Duration,
        /// What is allowed.
        max: Duration,
        /// Where that is written.
        place: Place,
    },
    /// A rule that holds for ever.
    #[error("a rule without ttl is refused by {place} (maxTtl: {})", Spoken(*.max))]
    NoTtl {
        /// What is allowed.
        max: Duration,
        /// Where that is written.
        place: Place,
    },
    /// Something that rules may not do here.
    #[error("`debug.{action}` is refused by {place} (actions: {allowed})")]
    Action {
        /// What the rule does.
        action: Action,
        /// What rules may do.
        allowed: String,
        /// Where that is written.
        place: Place,
    },
    /// A pod of a namespace that was not chosen.
    #[error("namespace {namespace} is refused by {place} (namespaces: {selector})")]
    Namespace {
        /// The pod's namespace.
        namespace: String,
        /// The label selector of those that are allowed.
        selector: String,
        /// Where that is written.
        place: Place,
    },
    /// More rules than one node may have.
    #[error("{rules} rules on one node are refused by {place} (maxRulesPerNode: {max})")]
    RulesPerNode {
        /// How many there would be.
        rules: usize,
        /// How many are allowed.
        max: usize,
        /// Where that is written.
        place: Place,
    },
    /// More rules than a workload may have.
    #[error("{rules} rules on one workload are refused by {place} (maxRules: {max})")]
    Rules {
        /// How many there are.
        rules: usize,
        /// How many are allowed.
        max: usize,
        /// Where that is written.
        place: Place,
    },
}

/// Where a limit comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nobody set it.
    Default,
    /// A line of the policy file.
    Line {
        /// The file.
        file: Arc<str>,
        /// The line, from 1.
        line: usize,
    },
}

/// A value and where it comes from.
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
    /// May connections go to `ip`? Reserved addresses come first, then `deny`, then `allow`; an IPv4 address
    /// in IPv6 form is judged as what it is. `is_node_address` is asked at most once.
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

    /// May a rule hold for `ttl`, or for ever?
    pub fn judge_ttl(&self, ttl: Option<Duration>) -> Result<(), Refusal> {
        let Some(Setting { value: max, place }) = &self.max_ttl else { return Ok(()) };
        match ttl {
            None => Err(Refusal::NoTtl { max: *max, place: place.clone() }),
            Some(ttl) if ttl > *max => Err(Refusal::Ttl { ttl, max: *max, place: place.clone() }),
            Some(_) => Ok(()),
        }
    }

    /// May one workload have `rules` rules?
    pub fn judge_rules(&self, rules: usize) -> Result<(), Refusal> {
        let Setting { value: max, place } = &self.max_rules;
        if rules > *max {
            return Err(Refusal::Rules { rules, max: *max, place: place.clone() });
        }
        Ok(())
    }

    /// May all workloads together have `rules` rules?
    pub fn judge_rules_per_node(&self, rules: usize) -> Result<(), Refusal> {
        let Setting { value: max, place } = &self.max_rules_per_node;
        if rules > *max {
            return Err(Refusal::RulesPerNode { rules, max: *max, place: place.clone() });
        }
        Ok(())
    }

    /// May rules do this?
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

    /// The label selector of the namespaces whose pods may have rules; nothing if all may.
    pub fn namespaces(&self) -> Option<&str> {
        self.namespaces.as_ref().map(|selector| selector.value.as_str())
    }

    /// Why a pod of `namespace`, which the selector does not choose, has no rules.
    pub fn refuse_namespace(&self, namespace: &str) -> Option<Refusal> {
        let Setting { value: selector, place } = self.namespaces.as_ref()?;
        Some(Refusal::Namespace {
            namespace: namespace.to_owned(),
            selector: selector.clone(),
            place: place.clone(),
        })
    }

    /// The most rules that one workload may have.
    pub fn max_rules(&self) -> usize {
        self.max_rules.value
    }

    /// The longest time that a rule may hold.
    pub fn max_ttl(&self) -> Option<Duration> {
        self.max_ttl.as_ref().map(|setting| setting.value)
    }
}

/// The kind of a reserved address that can be told from the address alone. `ip` is not IPv4 in IPv6 form.
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
        IpAddr::V6(ip) => (ip.is_unicast_link_local() || is_of_cloud(ip), ip.is_unspecified()),
    };
    match (link_local, unspecified) {
        (true, _) => Some(Reserved::LinkLocal),
        (_, true) => Some(Reserved::Unspecified),
        _ => None,
    }
}

/// Whether a cloud gives instances their metadata and credentials there. In IPv4 these are link-local addresses; in IPv6,
/// where each needs the name of a link, clouds took unique local ones (RFC 4193) in their place.
fn is_of_cloud(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        // AWS: ::254, ::23 for EKS' Pod Identity, and other services of its own in the same network.
        [0xfd00, 0x0ec2, ..] => true,
        // Google Cloud.
        [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => true,
        // Scaleway.
        [0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042] => true,
        _ => false,
    }
}

// === printing ===

/// What the file calls them.
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
struct Spoken(Duration);

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&humantime::format_duration(self.0).to_string().replace(' ', ""))
    }
}
