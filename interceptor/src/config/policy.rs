//! The admin's limits on targets, actions and namespaces, and on the number and `ttl` of rules.
//!
//! A refusal names the line of the policy, or the chart's value, that it comes from. A developer
//! then knows what to ask the admin for.

use std::net::IpAddr;
use std::time::Duration;

pub use interceptor_api::Action;
use ipnet::IpNet;

mod address;
mod file;
mod refusal;
#[cfg(test)]
mod tests;

use self::address::reserved;
pub use self::{
    address::{Dial, Reserved},
    refusal::{Place, Refusal},
};

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
    /// Maximum silence of a client before its bytes are passed on without a decision.
    pub silence: Silence,
    max_rules: Setting<usize>,
    max_rules_per_node: Setting<usize>,
    actions: Option<Setting<Vec<Action>>>,
    namespaces: Option<Setting<String>>,
    max_ttl: Option<Setting<Duration>>,
    allow: Option<Setting<Vec<IpNet>>>,
    deny: Vec<Setting<IpNet>>,
    allow_reserved: Setting<Vec<Reserved>>,
}

/// The silences of a client after which the app gets what was held for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// While it is not certain that the client speaks HTTP or TLS.
    pub opening: Duration,
    /// Behind a complete start line, or within a ClientHello.
    pub head: Duration,
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting<T> {
    value: T,
    place: Place,
}

impl Default for Silence {
    fn default() -> Self {
        Self { opening: Duration::from_millis(100), head: Duration::from_secs(1) }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            dial: Dial::default(),
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            silence: Silence::default(),
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
            allow_reserved: Setting { value: Vec::new(), place: Place::Default },
        }
    }
}

// === judging ===

impl Policy {
    /// The same policy, whose refusals name values of the chart instead of lines of the file.
    #[must_use]
    pub fn of_chart(mut self) -> Self {
        fn to_chart<T>(setting: &mut Setting<T>) {
            setting.place = Place::Chart;
        }
        // Without `..`: a new setting fails to compile here until it is named.
        let Self {
            dial: _,
            connect_timeout: _,
            silence: _,
            max_rules,
            max_rules_per_node,
            actions,
            namespaces,
            max_ttl,
            allow,
            deny,
            allow_reserved,
        } = &mut self;
        to_chart(max_rules);
        to_chart(max_rules_per_node);
        to_chart(allow_reserved);
        actions.iter_mut().for_each(to_chart);
        namespaces.iter_mut().for_each(to_chart);
        max_ttl.iter_mut().for_each(to_chart);
        allow.iter_mut().for_each(to_chart);
        deny.iter_mut().for_each(to_chart);
        self
    }

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
        let Setting { value: allowed, place } = &self.allow_reserved;
        if let Some(kind) = reserved.filter(|kind| !allowed.contains(kind)) {
            return Err(Refusal::Reserved { ip, kind, from: self.dial, place: place.clone() });
        }
        if let Some(deny) = self.deny.iter().find(|deny| deny.value.contains(&ip)) {
            return Err(Refusal::Denied { ip, net: deny.value, place: deny.place.clone() });
        }
        match &self.allow {
            Some(allow) if !allow.value.iter().any(|net| net.contains(&ip)) => {
                let Setting { value: allowed, place } = allow.clone();
                Err(Refusal::NotAllowed { ip, allowed, place })
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
