//! The controller of one workload: brings its actual state to its spec.
//!
//! [`WorkloadController::step`] is idempotent. It compares the spec with the actual state, changes
//! the differences, and returns when to step again. The answer to every event is another step: an
//! edited file, a recreated sandbox, a resolved name.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use interceptor_api::{Reason, Standing, State};
use interceptor_rule::Rule;
use tokio::time::Instant;

use super::{
    attachment::{ArmError, Attachment},
    context::Context,
    plan::{Node, Plan, Planned, Planner},
    registry::{RuleEntry, WorkloadEntry},
    rule::{RefusedRule, RuleReport},
    sentence,
};
use crate::{
    backoff::Backoff,
    config::{
        annotation::AnnotationKey,
        workloads::{NetnsSource, WorkloadSpec},
    },
    netns::{Netns, NetnsError, is_gone},
    relay::stats::PortStats,
};

/// The delays before arming is tried again.
const RETRY: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(5));

/// A namespace that is not found is worth a warning only after this time.
const NETNS_GRACE: Duration = Duration::from_secs(5);

/// A rule's identity as users see it: its annotation and its text.
type RuleId = (AnnotationKey, String);

/// The end of a rule's `ttl`.
#[derive(Clone, Copy)]
struct End {
    at: Instant,
    /// When the annotation was written, from which `at` was computed.
    written: Option<SystemTime>,
}

/// The controller of one workload.
pub struct WorkloadController {
    spec: WorkloadSpec,
    planner: Planner,
    armed: Option<Attachment>,
    /// When rules with a `ttl` expire. Writing the annotation again restarts the time, arming again
    /// does not.
    ends: HashMap<RuleId, End>,
    /// Rules that the plan admits, but that can't be put in force.
    refused: Vec<RefusedRule>,
    /// The spec names another namespace than the one we are attached to; that one has not failed.
    moved: bool,
    /// The process in the spec has ended. Another process may have its number by now.
    ended: bool,
    /// Failures to arm, in a row.
    retry: Backoff,
    /// When the first of them was.
    failing_since: Option<Instant>,
    /// The standing that was logged last, by rule; `None` is the workload. Each change is logged
    /// once.
    logged: HashMap<Option<(String, String)>, (State, Reason)>,
}

// === impl WorkloadController ===

impl WorkloadController {
    /// A controller that has done nothing yet.
    #[must_use]
    pub fn new(spec: WorkloadSpec) -> Self {
        Self {
            spec,
            planner: Planner::default(),
            armed: None,
            ends: HashMap::new(),
            refused: Vec::new(),
            moved: false,
            ended: false,
            retry: RETRY,
            failing_since: None,
            logged: HashMap::new(),
        }
    }

    /// Replaces the spec.
    pub fn set_spec(&mut self, spec: WorkloadSpec) {
        if self.spec.netns != spec.netns {
            self.retry.reset();
            self.moved = self.armed.is_some();
            self.ended = false;
        }
        self.spec = spec;
    }

    /// The spec.
    #[must_use]
    pub fn spec(&self) -> &WorkloadSpec {
        &self.spec
    }

    /// Retries at once in case of a failure: its cause may have changed.
    pub fn retry_now(&mut self) {
        self.retry.reset();
    }

    /// One step towards the spec. Returns the entry to publish, and the maximum delay until the
    /// next step.
    ///
    /// `elsewhere` is the number of admitted rules of other workloads.
    pub async fn step(
        &mut self,
        context: &Context,
        elsewhere: usize,
    ) -> (WorkloadEntry, Option<Duration>) {
        let is_node_address = |ip| context.home.has_address(ip);
        let node = Node { policy: &context.policy, elsewhere, is_node_address: &is_node_address };
        let now = Instant::now();
        let (spec, ends) = (&self.spec, &mut self.ends);
        let expired = |key: &AnnotationKey, rule: &Rule| {
            let ttl = rule.ttl?;
            let written = spec.written(key).map(|written| written.at);
            // A clock that is behind the API server's gives an age of zero, not a negative one.
            let age = || written.and_then(|written| written.elapsed().ok()).unwrap_or_default();
            let begin = || End { at: now + ttl.saturating_sub(age()), written };
            let end = ends.entry((key.clone(), rule.to_string())).or_insert_with(begin);
            if end.written != written {
                *end = begin();
            }
            (now >= end.at).then(|| expired(ttl, key, spec))
        };
        let plan = self.planner.plan(spec, &node, expired);
        self.ends
            .retain(|id, _| plan.rules.iter().any(|planned| id_of(planned).as_ref() == Some(id)));
        let wanted = plan.rules.iter().any(|planned| !planned.ports.is_empty());
        let result = if wanted { self.arm(&plan, context).await } else { Ok(()) };
        if !wanted && let Some(armed) = self.armed.take() {
            self.refused.clear();
            context.drain(armed.disarm(context));
        }
        let retry = match &result {
            Ok(()) => {
                self.retry.reset();
                self.failing_since = None;
                self.armed.as_ref().and_then(Attachment::next_expiry)
            }
            Err(_) => {
                self.failing_since.get_or_insert(now);
                Some(Instant::now() + self.retry.failed())
            }
        };
        let entry = self.entry(&plan, result.err());
        self.log_changes(&entry);
        (entry, retry.map(|at| at.saturating_duration_since(Instant::now())))
    }

    /// Disarms the workload: its spec was removed, or the daemon ends.
    pub fn end(self, context: &Context) {
        if let Some(armed) = self.armed {
            tracing::info!(workload = %self.spec.name, "disarmed");
            context.drain(armed.disarm(context));
        }
    }

    /// The process in the spec has ended. Its number is not looked up again.
    pub fn process_ended(&mut self) {
        self.ended = true;
    }

    async fn arm(&mut self, plan: &Plan, context: &Context) -> Result<(), ArmError> {
        let moved = std::mem::take(&mut self.moved);
        let netns = self.find(moved, context);
        let stale = self
            .armed
            .take_if(|armed| is_gone(&netns, armed.netns_id()) || (moved && netns.is_err()));
        if let Some(armed) = stale {
            self.refused.clear();
            if moved {
                tracing::info!(
                    workload = %self.spec.name,
                    "disarmed: the spec names another namespace now"
                );
                context.drain(armed.disarm(context));
            } else {
                tracing::info!(workload = %self.spec.name, "the namespace is gone");
                armed.cut(context);
            }
        }
        let netns = netns?;
        if self.armed.is_none() {
            self.armed = Some(Attachment::arm(&self.spec, netns, context).await?);
        }
        if let Some(armed) = &mut self.armed {
            armed.recognise_checks(&self.spec);
            let ends = &self.ends;
            let unclaimed = armed.claim(plan, context).await;
            let expires_at = |planned: &Planned| Some(ends.get(&id_of(planned)?)?.at);
            let (refused, result) = armed.apply(plan, &unclaimed, context, expires_at);
            self.refused = refused;
            result?;
        }
        Ok(())
    }

    /// Opens the namespace in the spec. An armed pod's is opened where it was found.
    fn find(&self, moved: bool, context: &Context) -> Result<Netns, NetnsError> {
        let path = match (&self.spec.netns, &self.armed) {
            (NetnsSource::Path(path), _) => path.clone(),
            (NetnsSource::Pid(pid), _) => {
                let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
                if self.ended {
                    return Err(NetnsError::NotFound { path });
                }
                path
            }
            (NetnsSource::Pod { ips, .. }, armed) => {
                let armed = armed.as_ref().filter(|_| !moved);
                return self.find_pod(ips, armed.map(|armed| &armed.workload.netns), context);
            }
        };
        Netns::open(&path, context.home)
    }

    /// Opens the namespace of a pod: the one it is armed in, or the one with the pod's addresses.
    fn find_pod(
        &self,
        ips: &[IpAddr],
        armed: Option<&Netns>,
        context: &Context,
    ) -> Result<Netns, NetnsError> {
        if let Some(armed) = armed {
            let there = Netns::open(armed.path(), context.home);
            // A path in `/proc` goes with its process, while the namespace may remain.
            if !is_gone(&there, armed.id()) || self.spec.terminating {
                return there;
            }
        } else if self.spec.terminating {
            return Err(NetnsError::Terminating);
        }
        context.finder.find(ips)
    }

    fn entry(&self, plan: &Plan, failure: Option<ArmError>) -> WorkloadEntry {
        let failure = failure.map(|error| failure_condition(&error, self.spec.terminating));
        let rules = 0..plan.rules.len();
        let mut rules: Vec<_> = rules.map(|n| self.rule_entry(plan, n, failure.as_ref())).collect();
        // Rules of one annotation share the counters of a port. The first rule reports them.
        let mut reported: Vec<Arc<PortStats>> = Vec::new();
        for rule in &mut rules {
            rule.ports.retain(|(_, stats)| !reported.iter().any(|other| Arc::ptr_eq(other, stats)));
            reported.extend(rule.ports.iter().map(|(_, stats)| Arc::clone(stats)));
        }
        WorkloadEntry {
            name: Arc::from(self.spec.name.as_str()),
            uid: self.spec.uid().cloned(),
            netns: self.netns_name(),
            armed: self.armed.as_ref().map(Attachment::published),
            failure,
            is_contested: self.armed.as_ref().is_some_and(Attachment::is_contested),
            rules,
        }
    }

    /// Where the namespace is, or where the daemon looks for it.
    fn netns_name(&self) -> String {
        match (&self.spec.netns, &self.armed) {
            (NetnsSource::Pod { .. }, Some(armed)) => {
                armed.workload.netns.path().display().to_string()
            }
            (NetnsSource::Pid(pid), _) => format!("/proc/{pid}/ns/net"),
            (source, _) => source.to_string(),
        }
    }

    /// The entry of rule `n` of the plan.
    fn rule_entry(&self, plan: &Plan, n: usize, failure: Option<&Standing>) -> RuleEntry {
        let planned = &plan.rules[n];
        let text = planned.rule.as_ref().map(ToString::to_string);
        let refused_late = planned.rule.as_ref().and_then(|rule| {
            let same = |refused: &&RefusedRule| refused.key == planned.key && refused.rule == *rule;
            Some(self.refused.iter().find(same)?.standing.clone())
        });
        let in_force = match (&self.armed, &planned.rule) {
            (Some(armed), Some(rule)) => armed.report(&planned.key, rule),
            _ => None,
        };
        let waiting = || Standing::pending(Reason::Proving, "not in force yet");
        let (condition, ports) = match (planned.refusal.clone().or(refused_late), in_force, failure)
        {
            (Some(refusal), ..) => (refusal, Vec::new()),
            (None, Some(report), _) => (self.explained(&report, plan, n), report.ports),
            (None, None, failure) => (failure.cloned().unwrap_or_else(waiting), Vec::new()),
        };
        RuleEntry {
            annotation: planned.key.to_string(),
            text,
            target: planned.rule.as_ref().map(|rule| rule.target.to_string()),
            declared: planned.ports.clone(),
            has_condition: planned
                .rule
                .as_ref()
                .is_some_and(|rule| rule.when.is_some() || rule.percent.is_some()),
            condition,
            written: self.spec.written(&planned.key).cloned(),
            ports,
        }
    }

    /// The standing of rule `n` of the plan, which is in force, with what else matters about its
    /// ports.
    fn explained(&self, report: &RuleReport, plan: &Plan, n: usize) -> Standing {
        let mut standing = report.standing.clone();
        if standing.state == State::Active {
            let unheard = sentence::unheard(&report.unheard, &self.spec.ports);
            for more in unheard.into_iter().chain(sentence::order(plan, n)) {
                standing.message += "; ";
                standing.message += &more;
            }
        }
        standing
    }

    /// Logs one line for each change of a standing.
    fn log_changes(&mut self, entry: &WorkloadEntry) {
        let mut logged = HashMap::new();
        let failure = entry.failure.as_ref();
        // The namespace of a pod that ends is gone a moment before its status says that it ends.
        let is_new = failure.is_some_and(|failure| failure.reason == Reason::NetnsNotFound)
            && self.failing_since.is_none_or(|since| since.elapsed() < NETNS_GRACE);
        if let Some(failure) = failure.filter(|_| !is_new) {
            logged.insert(None, (failure.state, failure.reason));
            if self.logged.get(&None) != logged.get(&None) {
                let (workload, reason) = (&entry.name, failure.reason);
                if failure.state == State::Ended {
                    tracing::info!(%workload, %reason, "{}", failure.message);
                } else {
                    tracing::warn!(%workload, %reason, "{}", failure.message);
                }
            }
        }
        for rule in &entry.rules {
            let text = rule.text.clone().unwrap_or_default();
            let id = Some((rule.annotation.clone(), text));
            let now = (rule.condition.state, rule.condition.reason);
            let is_news = self.logged.get(&id) != Some(&now) && entry.failure.is_none();
            // Proving takes about a millisecond and is not worth a line. A failed proof is.
            if is_news && rule.condition.reason != Reason::Proving {
                let text = rule.text.as_deref().unwrap_or("(unreadable)");
                tracing::info!(
                    workload = %entry.name,
                    annotation = %rule.annotation,
                    rule = text,
                    state = %rule.condition.state,
                    reason = %rule.condition.reason,
                    "{}",
                    // One line: the picture with the caret is for terminals.
                    rule.condition.message.lines().next().unwrap_or_default()
                );
            }
            logged.insert(id, now);
        }
        for (id, _) in self.logged.iter().filter(|(id, _)| !logged.contains_key(*id)) {
            // A text that could not be parsed was never in force.
            if let Some((annotation, rule)) = id.as_ref().filter(|(_, rule)| !rule.is_empty()) {
                tracing::info!(workload = %entry.name, %annotation, rule, "removed");
            }
        }
        self.logged = logged;
    }
}

/// The standing of a rule whose `ttl` has expired.
fn expired(ttl: Duration, key: &AnnotationKey, spec: &WorkloadSpec) -> Standing {
    let ttl = humantime::format_duration(ttl);
    let again = match (spec.uid(), spec.name.as_str().split_once('/')) {
        (Some(_), Some((namespace, pod))) => {
            let annotate = format!("kubectl annotate pod {pod} -n {namespace}");
            format!(
                "to start it again, remove the annotation and write it again: `{annotate} {key}-`, \
                 then `{annotate} {key}='…'`; to write the same text over it changes nothing"
            )
        }
        _ => "to start it again, remove the annotation and add it again".to_owned(),
    };
    Standing::expired(format!("the rule's ttl ({ttl}) has expired; {again}"))
}

fn id_of(planned: &Planned) -> Option<RuleId> {
    Some((planned.key.clone(), planned.rule.as_ref()?.to_string()))
}

/// The standing of a workload that could not be armed. While a pod is being deleted, it is no
/// fault that its namespace is gone.
fn failure_condition(error: &ArmError, terminating: bool) -> Standing {
    let message = error.to_string();
    match error {
        ArmError::Netns(_) if terminating => Standing::ended(NetnsError::Terminating.to_string()),
        ArmError::Netns(
            NetnsError::NotFound { .. }
            | NetnsError::NotANetns { .. }
            | NetnsError::NoneHasAddress { .. }
            | NetnsError::Ambiguous { .. },
        ) => Standing::pending(Reason::NetnsNotFound, message),
        ArmError::Netns(NetnsError::Terminating) => Standing::ended(message),
        ArmError::Claimed(_) => Standing::pending(Reason::PortTaken, message),
        ArmError::Netns(NetnsError::Host { .. }) => Standing::refused(Reason::HostNetwork, message),
        ArmError::Netns(NetnsError::Open { .. } | NetnsError::Enter { .. })
        | ArmError::Datapath(_)
        | ArmError::Listen(_)
        | ArmError::Addresses(_)
        | ArmError::Workers => Standing::pending(Reason::KernelRefused, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::workloads::WorkloadName;

    fn gone() -> ArmError {
        ArmError::Netns(NetnsError::NotFound { path: PathBuf::from("/run/netns/gone") })
    }

    #[test]
    fn a_namespace_that_is_gone_is_a_fault_unless_its_pod_is_being_deleted() {
        let standing = failure_condition(&gone(), false);
        assert_eq!((standing.state, standing.reason), (State::Pending, Reason::NetnsNotFound));
        let standing = failure_condition(&gone(), true);
        assert_eq!(standing, Standing::ended("the pod is being deleted"));
    }

    #[test]
    fn an_expired_rule_says_how_to_start_it_again() {
        let mut spec =
            WorkloadSpec::from_flag("/run/netns/web".as_ref(), &["80 -> a:1"]).expect("a spec");
        let key = AnnotationKey::redirect();
        let message = expired(Duration::from_secs(60), &key, &spec).message;
        let expected = "the rule's ttl (1m) has expired; to start it again, remove the annotation \
                        and add it again";
        assert_eq!(message, expected);

        spec.name = WorkloadName::of_pod("shop", "web");
        spec.netns = NetnsSource::Pod { uid: "u-1".into(), ips: Vec::new() };
        let message = expired(Duration::from_secs(60), &key, &spec).message;
        let expected = "the rule's ttl (1m) has expired; to start it again, remove the annotation \
                        and write it again: `kubectl annotate pod web -n shop debug.redirect-`, \
                        then `kubectl annotate pod web -n shop debug.redirect='…'`; to write the \
                        same text over it changes nothing";
        assert_eq!(message, expected);
    }
}
