//! Why all rules of a workload, or a text that is no rule, take no effect. In words.

use interceptor_api::{Reason, Standing};
use interceptor_rule::Rule;

use crate::config::{
    annotation::Problem,
    workloads::{MAX_ANNOTATIONS, Obstacle},
};

/// The standing of all rules of a workload with an obstacle.
pub(super) fn obstacle(obstacle: &Obstacle) -> Standing {
    match obstacle {
        Obstacle::HostNetwork => Standing::refused(
            Reason::HostNetwork,
            "the pod uses the node's own network (hostNetwork), which the daemon never touches",
        ),
        Obstacle::Sandboxed(class) => Standing::refused(
            Reason::NoNetns,
            format!(
                "runtime class {class} (gVisor, Kata) hides the pod's connections from the node"
            ),
        ),
        Obstacle::NotRunning(phase) => Standing::pending(
            Reason::PodNotRunning,
            format!("the pod has no address yet (phase {phase})"),
        ),
        Obstacle::NoSandbox => Standing::pending(
            Reason::PodNotRunning,
            "the pod's sandbox is being recreated; its reported address is stale",
        ),
        Obstacle::SharedAddress { ip, with } => Standing::pending(
            Reason::PodNotRunning,
            format!("pod {with} also reports address {ip}; waiting until only one pod has it"),
        ),
        Obstacle::TooManyAnnotations(count) => Standing::refused(
            Reason::LimitExceeded,
            format!(
                "the pod has {count} debug annotations; the maximum is {MAX_ANNOTATIONS}, so none \
                 takes effect"
            ),
        ),
        Obstacle::Ended(phase) => Standing::ended(format!("the pod has ended (phase {phase})")),
        Obstacle::Policy(refusal) => Standing::refused(Reason::NotAllowed, refusal.to_string()),
    }
}

pub(super) fn reason_of(problem: &Problem) -> Reason {
    match problem {
        Problem::Parse(_)
        | Problem::Condition { .. }
        | Problem::PortName { .. }
        | Problem::Developer(_)
        | Problem::Misspelt(_) => Reason::RuleInvalid,
        Problem::Unsupported(_) | Problem::Mirror => Reason::NotSupported,
        Problem::NoPorts { .. } => Reason::NoPorts,
    }
}

/// What stays in force instead of a text that can't be parsed, as the end of a sentence.
pub(super) fn in_force(rules: &[Rule]) -> String {
    let Some((first, more)) = rules.split_first() else { return String::new() };
    let first = interceptor_rule::quoted(&first.to_string());
    match more.len() {
        0 => format!("; the previous rule stays in force: {first}"),
        more => format!("; the previous rules stay in force: {first} and {more} more"),
    }
}
