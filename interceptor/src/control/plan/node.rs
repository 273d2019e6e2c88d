//! Whether a rule may take effect on a node, without regard to the rules of other annotations.

use std::net::{IpAddr, Ipv4Addr};

use interceptor_api::{Reason, Standing};
use interceptor_common::port::Port;
use interceptor_rule::{Rule, Target};

use crate::config::policy::{Action, Policy};

/// The node for which a workload is planned.
pub struct Node<'a> {
    /// The admin's limits.
    pub policy: &'a Policy,
    /// The number of admitted rules of other workloads.
    pub elsewhere: usize,
    /// Whether an address is one of the node's own.
    pub is_node_address: &'a (dyn Fn(IpAddr) -> bool + Sync),
}

// === impl Node ===

impl Node<'_> {
    /// Judges a rule without regard to ports that other rules hold. `before` rules of its workload
    /// were admitted before it.
    ///
    /// # Errors
    /// The reason why the rule takes no port.
    pub(super) fn judge(&self, rule: &Rule, before: usize, ports: &[Port]) -> Result<(), Standing> {
        let Self { policy, elsewhere, is_node_address } = self;
        if let Some(unsupported) = rule.unsupported() {
            return Err(Standing::refused(Reason::NotSupported, unsupported.to_string()));
        }
        if ports.is_empty() {
            let message =
                "the rule names no ports and the workload declares none; write `8080 -> …`";
            return Err(Standing::refused(Reason::NoPorts, message));
        }
        policy
            .judge_action(Action::Redirect)
            .map_err(|refusal| Standing::refused(Reason::NotAllowed, refusal.to_string()))?;
        policy
            .judge_rules(before + 1)
            .and_then(|()| policy.judge_rules_per_node(elsewhere + before + 1))
            .map_err(|refusal| Standing::refused(Reason::LimitExceeded, refusal.to_string()))?;
        policy
            .judge_ttl(rule.ttl)
            .map_err(|refusal| Standing::refused(Reason::LimitExceeded, refusal.to_string()))?;
        // This name always means loopback (RFC 6761), so no look-up is needed to refuse it.
        let ip = match &rule.target {
            Target::Address(address) => Some(address.ip()),
            Target::Name { host, .. } if host.as_str() == "localhost" => {
                Some(Ipv4Addr::LOCALHOST.into())
            }
            Target::Name { .. } | Target::Session(_) => None,
        };
        if let Some(ip) = ip {
            policy
                .judge_target(ip, is_node_address)
                .map_err(|refusal| Standing::refused(Reason::TargetDenied, refusal.to_string()))?;
        }
        Ok(())
    }
}
