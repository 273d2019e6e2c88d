//! Prometheus metrics, read from the same counters as the status at the moment of the scrape.
//!
//! Labels name workloads, annotations and ports. There are as many series as rules in force, and
//! they go when the rules go. No label has a client's address, or anything else that a client sent.
//! What never happened has no series: most outcomes never do, and zeros would be most of the text.

use std::{collections::BTreeMap, fmt, sync::Arc, sync::atomic::Ordering};

use interceptor_api::{
    Decision, Outcome, Passed, PodGroup, Refused, Server, Side, Standing, State,
};
use interceptor_common::port::Port;
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::histogram::Histogram,
    registry::{Registry as MetricRegistry, Unit},
};

use self::writer::Writer;
use super::state::port_outcomes;
use crate::{
    control::registry::{Armed, Registry, RuleEntry, WorkloadEntry},
    datapath::Callers,
    kubernetes::Cluster,
    relay::{
        direction::Direction,
        stats::{Piped, PortStats},
        worker::Shared,
    },
};

mod writer;

/// Every metric of the daemon, under the prefix `interceptor_`.
#[must_use]
pub fn registry(
    published: Arc<Registry>,
    shared: Arc<Shared>,
    callers: Arc<Callers>,
    arm_seconds: Histogram,
    cluster: Option<Cluster>,
) -> MetricRegistry {
    let mut metrics = MetricRegistry::with_prefix("interceptor");
    let help = "Time from the first step for a pod to its program being attached";
    metrics.register_with_unit("arm", help, Unit::Seconds, arm_seconds);
    metrics.register_collector(Box::new(Published { published, shared, callers, cluster }));
    metrics
}

/// Turns the published state into metrics.
struct Published {
    published: Arc<Registry>,
    shared: Arc<Shared>,
    callers: Arc<Callers>,
    cluster: Option<Cluster>,
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Published")
    }
}

impl Collector for Published {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Writer::new(encoder);
        let workloads = self.published.workloads();
        let ports: Vec<_> = workloads.iter().flat_map(|entry| RulePort::of(entry)).collect();
        write_connections(&mut to, &workloads, &ports)?;
        write_traffic(&mut to, &ports)?;
        let filtered: Vec<_> = ports.iter().filter(|port| port.has_condition).collect();
        write_decisions(&mut to, &filtered)?;
        write_request_times(&mut to, &filtered)?;
        write_silent(&mut to, &ports)?;
        write_rules(&mut to, &workloads)?;
        if let Some(cluster) = &self.cluster {
            write_cluster(&mut to, cluster)?;
        }
        self.write_relay(&mut to)?;
        self.write_caller_addresses(&mut to)?;
        let help = "Connections that ended because of a bug in the relay";
        to.counter("panics", help, self.shared.panics())?;
        let mut family = to.gauges("build_info", "Version of the daemon")?;
        family.set(&[("version", env!("CARGO_PKG_VERSION"))], 1_u64)
    }
}

impl Published {
    fn write_relay(&self, to: &mut Writer<'_>) -> fmt::Result {
        let help = "Age of the oldest worker heartbeat";
        let age = self.shared.heartbeat_age().as_secs_f64();
        to.gauge("heartbeat_age", help, Some(&Unit::Seconds), age)?;
        let help = "Connections open at present, each counted once";
        to.gauge("open_connections", help, None, self.shared.open() as f64)?;
        let help = "Maximum number of open connections; further ones stay with the app";
        to.gauge("connection_limit", help, None, self.shared.limit() as f64)?;
        let help = "Connections that are still open while the daemon ends";
        let mut family = to.gauges("draining_connections", help)?;
        for (why, count) in self.shared.farewell().counts() {
            family.set(&[("reason", why.as_str())], count)?;
        }
        let help =
            "1 while the workloads file is invalid and the last valid version stays in force";
        let is_invalid = self.published.source_error().is_some();
        to.gauge("workloads_file_invalid", help, None, f64::from(u8::from(is_invalid)))
    }

    fn write_caller_addresses(&self, to: &mut Writer<'_>) -> fmt::Result {
        let help = "1 while apps see the addresses of clients whose connections are passed on";
        let is_kept = self.callers.state().is_ok();
        to.gauge("caller_address_kept", help, None, f64::from(u8::from(is_kept)))?;
        let count = self.callers.count();
        let help = "Connections open at present whose client the app sees";
        to.gauge("callers_shown", help, None, count.shown() as f64)?;
        let help = "Connections passed on to an app that did not see their client";
        to.counter("callers_not_shown", help, count.not_shown())
    }
}

/// A port of a rule, with its labels and counters.
struct RulePort<'a> {
    entry: &'a WorkloadEntry,
    annotation: &'a str,
    port: Port,
    number: String,
    stats: &'a PortStats,
    /// Whether the rule has a condition or a share.
    has_condition: bool,
}

// === impl RulePort ===

impl<'a> RulePort<'a> {
    /// Every port of every rule of a workload.
    fn of(entry: &'a WorkloadEntry) -> impl Iterator<Item = Self> {
        entry.rules.iter().flat_map(move |rule| {
            rule.ports.iter().map(move |(port, stats)| Self {
                entry,
                annotation: &rule.annotation,
                port: *port,
                number: port.number().to_string(),
                stats,
                has_condition: rule.has_condition,
            })
        })
    }

    /// The labels of its workload, `annotation` and `port`, and further ones.
    fn labels<'l>(&'l self, more: &[(&'l str, &'l str)]) -> Vec<(&'l str, &'l str)> {
        let mut labels = owner(self.entry);
        labels.extend([("annotation", self.annotation), ("port", &*self.number)]);
        labels.extend(more);
        labels
    }
}

/// The labels of a workload: `workload`, and for a pod `namespace` and `pod`, by which its series
/// join with those of other exporters.
fn owner(entry: &WorkloadEntry) -> Vec<(&str, &str)> {
    let mut labels = vec![("workload", &*entry.name)];
    if entry.uid.is_some()
        && let Some((namespace, pod)) = entry.name.split_once('/')
    {
        labels.extend([("namespace", namespace), ("pod", pod)]);
    }
    labels
}

fn write_connections(
    to: &mut Writer<'_>,
    workloads: &[Arc<WorkloadEntry>],
    ports: &[RulePort<'_>],
) -> fmt::Result {
    let help = "Connections to redirected ports, by outcome";
    let mut family = to.counters("connections", help)?;
    for port in ports {
        let outcomes = port_outcomes(port.entry, port.port, port.stats);
        for (outcome, count) in outcomes.into_iter().filter(|(_, count)| *count > 0) {
            let more = [("outcome", outcome.outcome()), ("reason", outcome.reason())];
            family.count(&port.labels(&more), count)?;
        }
    }
    for entry in workloads {
        let Some(Armed { workload, .. }) = &entry.armed else { continue };
        // These connections belong to no rule.
        for (outcome, count) in [
            (Outcome::Refused(Refused::RelayAddress), &workload.strays),
            (Outcome::Passed(Passed::Unrouted), &workload.unrouted),
        ] {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                let mut labels = owner(entry);
                labels.extend([("annotation", ""), ("port", "")]);
                labels.extend([("outcome", outcome.outcome()), ("reason", outcome.reason())]);
                family.count(&labels, count)?;
            }
        }
    }
    Ok(())
}

fn write_traffic(to: &mut Writer<'_>, ports: &[RulePort<'_>]) -> fmt::Result {
    let mut family = to.counters("bytes", "Bytes between clients and targets")?;
    for port in ports {
        for direction in Direction::ALL {
            let more = [("direction", direction.label().as_str())];
            family.count(&port.labels(&more), port.stats.bytes(direction))?;
        }
    }
    let help = "Connections open at present, to the target or to the app";
    let mut family = to.gauges("active_connections", help)?;
    for port in ports {
        family.set(&port.labels(&[]), port.stats.active())?;
    }
    let help = "Time from dialling a target to its connection being open";
    let mut family = to.histograms("connect", help)?;
    for port in ports {
        family.sample(&port.labels(&[]), &port.stats.connect_seconds)?;
    }
    Ok(())
}

/// The decisions of rules with a condition or a share.
fn write_decisions(to: &mut Writer<'_>, ports: &[&RulePort<'_>]) -> fmt::Result {
    let help = "Decisions of rules about connections and requests";
    let mut family = to.counters("decisions", help)?;
    for port in ports {
        for decision in Decision::ALL {
            let count = port.stats.decided(decision);
            if count > 0 {
                family.count(&port.labels(&[("decision", decision.as_str())]), count)?;
            }
        }
    }
    let help = "Connections that became a plain pipe, whose requests are not read any more";
    let mut family = to.counters("piped_connections", help)?;
    for port in ports {
        // Only reasons that occurred: there are many, and most never occur.
        for why in Piped::all().filter(|why| port.stats.piped(*why) > 0) {
            let more = [("side", why.side().as_str()), ("reason", why.reason())];
            family.count(&port.labels(&more), port.stats.piped(why))?;
        }
    }
    Ok(())
}

/// Connections that ended because a side was silent.
fn write_silent(to: &mut Writer<'_>, ports: &[RulePort<'_>]) -> fmt::Result {
    let help = "Connections to targets that ended because a side was silent";
    let mut family = to.counters("silent_connections", help)?;
    for port in ports {
        for side in Side::ALL.into_iter().filter(|side| port.stats.silent(*side) > 0) {
            family.count(&port.labels(&[("side", side.as_str())]), port.stats.silent(side))?;
        }
    }
    Ok(())
}

/// The times of requests that rules with a condition or a share read.
fn write_request_times(to: &mut Writer<'_>, ports: &[&RulePort<'_>]) -> fmt::Result {
    let help = "Time from reading a request head to choosing its target";
    let mut family = to.histograms("decision", help)?;
    for port in ports {
        family.sample(&port.labels(&[]), &port.stats.decision_seconds)?;
    }
    let help = "Time from forwarding a request head to the first byte of its response";
    let mut family = to.histograms("response", help)?;
    for port in ports {
        let stats = port.stats;
        for (server, seconds) in
            [(Server::App, &stats.app_seconds), (Server::Target, &stats.target_seconds)]
        {
            family.sample(&port.labels(&[("server", server.as_str())]), seconds)?;
        }
    }
    Ok(())
}

fn write_rules(to: &mut Writer<'_>, workloads: &[Arc<WorkloadEntry>]) -> fmt::Result {
    let mut family = to.gauges("rules", "Rules by state")?;
    for state in State::ALL {
        let rules = workloads.iter().flat_map(|entry| &entry.rules);
        let count = rules.filter(|rule| rule.condition.state == state).count() as u64;
        family.set(&[("state", state.as_str())], count)?;
    }
    let help = "Rules whose target does not serve clients, so that they reach the app";
    let mut family = to.gauges("targets_away", help)?;
    for entry in workloads {
        // Several rules of one annotation would have the same labels.
        let mut away = BTreeMap::<&str, u64>::new();
        let in_force =
            |rule: &&RuleEntry| matches!(rule.condition.state, State::Active | State::Pending);
        let is_away =
            |standing: &Standing| standing.state == State::Active && !standing.reaches_target();
        for rule in entry.rules.iter().filter(in_force) {
            *away.entry(&rule.annotation).or_default() += u64::from(is_away(&rule.condition));
        }
        for (annotation, count) in away {
            let mut labels = owner(entry);
            labels.push(("annotation", annotation));
            family.set(&labels, count)?;
        }
    }
    Ok(())
}

fn write_cluster(to: &mut Writer<'_>, cluster: &Cluster) -> fmt::Result {
    let mut family = to.counters("api_requests", "Requests to the API server")?;
    for (kind, count) in cluster.requests.counts() {
        let labels = [("verb", kind.verb), ("resource", &kind.resource), ("code", &kind.code)];
        family.count(&labels, count)?;
    }
    let mut family = to.counters("events", "Events on pods, by outcome")?;
    for event in cluster.events.counts() {
        let labels = [("reason", event.reason.as_str()), ("outcome", event.outcome.as_str())];
        family.count(&labels, event.count)?;
    }
    let help = "Watches of the API server that broke and were retried";
    to.counter("watch_errors", help, cluster.watch_errors.count())?;

    let (all, annotated) = cluster.store.counts();
    let help = "Pods of this node, by whether they have annotations of interceptor";
    let mut family = to.gauges("pods", help)?;
    for (group, count) in [(PodGroup::Annotated, annotated), (PodGroup::Other, all - annotated)] {
        family.set(&[("state", group.as_str())], count as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
