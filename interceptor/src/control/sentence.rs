//! What a rule in force does, in words: the messages of its condition and its Events. No I/O.
//!
//! A pod's condition and an Event cut long messages off, so what matters most comes first.

use std::num::NonZeroU16;

use interceptor_api::Reason;
use interceptor_common::port::Port;
use interceptor_condition::{Condition, Needs};
use interceptor_rule::{Ports, Rule, Target};

use super::plan::Plan;
use crate::{config::policy::Dial, relay::answer::Answer};

/// Maximum number of ports or annotations that a message lists.
const MAX_LISTED: usize = 8;
/// Maximum length of a condition in a message, in bytes.
const MAX_CONDITION: usize = 200;

/// What a rule takes, and where it leads.
pub(super) fn takes(rule: &Rule, ports: &[Port]) -> String {
    let ports = name_ports(&numbers(ports));
    let all = if rule.ports == Ports::Declared { " (all declared)" } else { "" };
    let share = share(rule).map(|share| format!(", {share}")).unwrap_or_default();
    format!("{ports}{all} → {}{share}", rule.target)
}

/// What a rule takes of its ports' connections. `None`: all of them.
fn share(rule: &Rule) -> Option<String> {
    let percent = rule.percent.map(|percent| format!("{percent} % of "));
    let Some(when) = &rule.when else { return Some(percent? + "new connections") };
    // A condition that needs no request is decided once for a whole connection.
    let subject = match Condition::compile(when.source()).map(|condition| condition.needs()) {
        Ok(Needs::Connection | Needs::ServerName) => "connections",
        Ok(Needs::Request) | Err(_) => "requests",
    };
    let source = when.source();
    let end = source.floor_char_boundary(MAX_CONDITION);
    let more = if end < source.len() { "…" } else { "" };
    let percent = percent.unwrap_or_default();
    Some(format!("{percent}{subject} that match `{}{more}`", &source[..end]))
}

/// Why clients get the app in place of the target. `None` if they do not.
pub(super) fn fallback(
    answer: Answer,
    target: &Target,
    from: Dial,
    ports: &[Port],
) -> Option<(Reason, String)> {
    let from = match from {
        Dial::Pod => "from the pod",
        Dial::Node => "from the node",
    };
    let (reason, why) = match answer {
        Answer::Unknown | Answer::Accepts => return None,
        Answer::Refuses => {
            (Reason::TargetRefuses, format!("{target} refuses connections: nothing listens there"))
        }
        Answer::Silent => {
            (Reason::TargetSilent, format!("{target} is silent: connections {from} get no answer"))
        }
        Answer::Unreachable => (
            Reason::TargetUnreachable,
            format!("{target} can't be reached {from}: there is no route to it"),
        ),
        Answer::Forbidden => (
            Reason::TargetUnreachable,
            format!(
                "{target} can't be reached {from}: the kernel there does not allow the connection"
            ),
        ),
        Answer::Loops => (
            Reason::Loop,
            format!("{target} is a redirected port of this pod: connections would loop"),
        ),
    };
    Some((reason, format!("{why}; clients get the app ({})", name_ports(&numbers(ports)))))
}

/// Why a rule is refused whose target leads back to its own `ports`.
pub(super) fn leads_back(target: &Target, ports: &[Port]) -> String {
    format!(
        "{target} leads back to {} of this pod: test connections to it arrived there; clients get \
         the app. Choose another target; to try this one again, remove the annotation and add it \
         again",
        name_ports(&numbers(ports))
    )
}

/// Which other rules share a port with rule `n` of the plan, and which of them are asked first.
pub(super) fn order(plan: &Plan, n: usize) -> Option<String> {
    let rule = &plan.rules[n];
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for order in rule.ports.iter().filter_map(|port| plan.ports.get(port)) {
        let Some(own) = order.rules.iter().position(|&other| other == n) else { continue };
        for (at, &other) in order.rules.iter().enumerate().filter(|(at, _)| *at != own) {
            let key = &plan.rules[other].key;
            let name = if *key == rule.key {
                "another rule of this annotation".to_owned()
            } else {
                key.to_string()
            };
            let side = if at < own { &mut before } else { &mut after };
            if !side.contains(&name) {
                side.push(name);
            }
        }
    }
    let part = |word: &str, names: Vec<String>| {
        (!names.is_empty()).then(|| format!("{word} {}", list(&names)))
    };
    let parts: Vec<_> =
        [part("after", before), part("before", after)].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("asked {}", parts.join(" and ")))
}

/// That nothing listens on `ports`, none of which is among the `declared` ones.
pub(super) fn unheard(ports: &[Port], declared: &[NonZeroU16]) -> Option<String> {
    let (it_is, ports) = match ports {
        [] => return None,
        [_] => ("it is", ports),
        _ => ("they are", ports),
    };
    let declared: Vec<_> = declared.iter().map(ToString::to_string).collect();
    let declared = if declared.is_empty() { "none".to_owned() } else { list(&declared) };
    let ports = name_ports(&numbers(ports));
    Some(format!("nothing listens on {ports}, and {it_is} not declared (declared: {declared})"))
}

fn numbers(ports: &[Port]) -> Vec<String> {
    ports.iter().map(ToString::to_string).collect()
}

fn name_ports(numbers: &[String]) -> String {
    format!("port{} {}", if numbers.len() == 1 { "" } else { "s" }, list(numbers))
}

/// At most [`MAX_LISTED`] of these, and how many more there are.
fn list(all: &[String]) -> String {
    match all.split_at_checked(MAX_LISTED) {
        Some((listed, more)) if !more.is_empty() => {
            format!("{} and {} more", listed.join(", "), more.len())
        }
        _ => all.join(", "),
    }
}

#[cfg(test)]
mod tests;
