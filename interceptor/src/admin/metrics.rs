//! Prometheus metrics, read from the same counters as the status at the moment of the scrape.
//!
//! Labels name workloads, annotations and ports: as many as there are rules in force, gone when these are. Never a
//! caller's address, and nothing that a caller sent.

use std::{fmt, sync::Arc, sync::atomic::Ordering};

use interceptor_common::port::Port;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, histogram::Histogram},
    registry::{Registry as MetricRegistry, Unit},
};

use super::state::port_outcomes;
use crate::{
    control::registry::{Armed, Registry, RuleEntry, WorkloadEntry},
    datapath::Callers,
    kubernetes::Cluster,
    relay::{
        direction::Direction,
        stats::{Decision, Piped},
        worker::Shared,
    },
};

/// Everything that is measured, under the prefix `interceptor_`.
#[must_use]
pub fn registry(
    published: Arc<Registry>,
    shared: Arc<Shared>,
    callers: Arc<Callers>,
    arm_seconds: Histogram,
    cluster: Option<Cluster>,
) -> MetricRegistry {
    let mut metrics = MetricRegistry::with_prefix("interceptor");
    metrics.register_with_unit(
        "arm",
        "From looking at a workload to its program being attached",
        Unit::Seconds,
        arm_seconds,
    );
    metrics.register_collector(Box::new(Published { published, shared, callers, cluster }));
    metrics
}

/// Turns what is published into metrics.
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

type Ports<'a> = Vec<(&'a WorkloadEntry, &'a RuleEntry, Port, &'a crate::relay::stats::PortStats)>;

impl Collector for Published {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let workloads = self.published.workloads();
        let ports: Ports<'_> = workloads
            .iter()
            .flat_map(|entry| entry.rules.iter().map(move |rule| (&**entry, rule)))
            .flat_map(|(entry, rule)| {
                rule.ports.iter().map(move |(port, stats)| (entry, rule, *port, &**stats))
            })
            .collect();

        encode_connections(&mut encoder, &workloads, &ports)?;
        encode_per_port(&mut encoder, &ports)?;
        encode_requests(&mut encoder, &ports)?;
        encode_rules(&mut encoder, &workloads)?;
        if let Some(cluster) = &self.cluster {
            encode_cluster(&mut encoder, cluster)?;
        }

        let mut gauge = |name, help, unit: Option<&Unit>, value: f64| {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
        };
        gauge(
            "heartbeat_age",
            "Since the slowest worker went round its loop",
            Some(&Unit::Seconds),
            self.shared.heartbeat_age().as_secs_f64(),
        )?;
        gauge(
            "open_connections",
            "Connections open at present, each once",
            None,
            self.shared.open() as f64,
        )?;
        gauge(
            "connection_limit",
            "Connections that may be open; further ones go to the application",
            None,
            self.shared.limit() as f64,
        )?;
        let broken = f64::from(u8::from(self.published.source_error().is_some()));
        gauge(
            "workloads_file_invalid",
            "1 while the workloads file can't be read and what was stays",
            None,
            broken,
        )?;

        let kept = f64::from(u8::from(self.callers.state().is_ok()));
        let help = "1 while applications see the callers of connections that are passed on to them";
        gauge("caller_address_kept", help, None, kept)?;
        let shown = self.callers.count().shown() as f64;
        gauge(
            "callers_shown",
            "Connections at present whose caller the application sees",
            None,
            shown,
        )?;
        let not_shown = ConstCounter::new(self.callers.count().lost());
        let help = "Connections passed on to an application that did not see their caller";
        not_shown.encode(encoder.encode_descriptor(
            "callers_not_shown",
            help,
            None,
            MetricType::Counter,
        )?)?;

        let panics = ConstCounter::new(self.shared.panics());
        let help = "Connections that ended because of a bug in the relay";
        panics.encode(encoder.encode_descriptor("panics", help, None, MetricType::Counter)?)?;

        let info = ConstGauge::new(1_u64);
        let mut family = encoder.encode_descriptor(
            "build_info",
            "The daemon's version",
            None,
            MetricType::Gauge,
        )?;
        info.encode(family.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?)
    }
}

fn encode_connections(
    encoder: &mut DescriptorEncoder<'_>,
    workloads: &[Arc<WorkloadEntry>],
    ports: &Ports<'_>,
) -> fmt::Result {
    let help = "Connections to redirected ports, by what became of them";
    let mut family = encoder.encode_descriptor("connections", help, None, MetricType::Counter)?;
    for (entry, rule, port, stats) in ports {
        let outcomes = port_outcomes(entry, *port, stats);
        let port = port.number().to_string();
        for (outcome, reason, count) in outcomes {
            let labels = [
                ("workload", &*entry.name),
                ("annotation", &rule.annotation),
                ("port", &port),
                ("outcome", outcome),
                ("reason", reason),
            ];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    for entry in workloads {
        let Some(Armed { workload, .. }) = &entry.armed else { continue };
        // These belong to no rule.
        for (outcome, reason, count) in [
            ("refused", "relay_address", &workload.strays),
            ("passed", "unrouted", &workload.unrouted),
        ] {
            let labels = [
                ("workload", &*entry.name),
                ("annotation", ""),
                ("port", ""),
                ("outcome", outcome),
                ("reason", reason),
            ];
            ConstCounter::new(count.load(Ordering::Relaxed))
                .encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn encode_per_port(encoder: &mut DescriptorEncoder<'_>, ports: &Ports<'_>) -> fmt::Result {
    let help = "Bytes between callers and the target";
    let mut family = encoder.encode_descriptor("bytes", help, None, MetricType::Counter)?;
    for (entry, rule, port, stats) in ports {
        for direction in Direction::ALL {
            let port = port.number().to_string();
            let labels = [
                ("workload", &*entry.name),
                ("annotation", &*rule.annotation),
                ("port", &*port),
                ("direction", direction.label()),
            ];
            ConstCounter::new(stats.bytes(direction)).encode(family.encode_family(&labels)?)?;
        }
    }
    let help = "Connections open at present, whoever serves them";
    let mut family =
        encoder.encode_descriptor("active_connections", help, None, MetricType::Gauge)?;
    for (entry, rule, port, stats) in ports {
        let port = port.number().to_string();
        let labels =
            [("workload", &*entry.name), ("annotation", &*rule.annotation), ("port", &*port)];
        ConstGauge::new(stats.active()).encode(family.encode_family(&labels)?)?;
    }
    let help = "From a target being called for a caller to its connection being open";
    let mut family =
        encoder.encode_descriptor("connect", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for (entry, rule, port, stats) in ports {
        let port = port.number().to_string();
        let labels =
            [("workload", &*entry.name), ("annotation", &*rule.annotation), ("port", &*port)];
        stats.connect_seconds.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// What rules that look at requests do. Rules that take all have none of it.
fn encode_requests(encoder: &mut DescriptorEncoder<'_>, ports: &Ports<'_>) -> fmt::Result {
    let ports: Vec<_> = ports.iter().filter(|(_, rule, ..)| rule.is_choosy).collect();
    let help = "What rules made of the connections and requests that they were asked about";
    let mut family = encoder.encode_descriptor("decisions", help, None, MetricType::Counter)?;
    for (entry, rule, port, stats) in &ports {
        let port = port.number().to_string();
        for decision in Decision::ALL {
            let labels = [
                ("workload", &*entry.name),
                ("annotation", &*rule.annotation),
                ("port", &*port),
                ("decision", decision.as_str()),
            ];
            ConstCounter::new(stats.decided(decision)).encode(family.encode_family(&labels)?)?;
        }
    }
    let help = "Connections that were not looked into, from some byte on";
    let mut family =
        encoder.encode_descriptor("piped_connections", help, None, MetricType::Counter)?;
    for (entry, rule, port, stats) in &ports {
        let port = port.number().to_string();
        // There are many reasons, and hardly any ever occurs.
        for why in Piped::all().filter(|why| stats.piped(*why) > 0) {
            let labels = [
                ("workload", &*entry.name),
                ("annotation", &*rule.annotation),
                ("port", &*port),
                ("side", why.side()),
                ("reason", why.reason()),
            ];
            ConstCounter::new(stats.piped(why)).encode(family.encode_family(&labels)?)?;
        }
    }
    let help = "From a request's head being read to its being known whose it is";
    let mut family =
        encoder.encode_descriptor("decision", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for (entry, rule, port, stats) in &ports {
        let port = port.number().to_string();
        let labels =
            [("workload", &*entry.name), ("annotation", &*rule.annotation), ("port", &*port)];
        stats.decision_seconds.encode(family.encode_family(&labels)?)?;
    }
    let help = "From a request's head being sent on to the first byte of its response";
    let mut family =
        encoder.encode_descriptor("response", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for (entry, rule, port, stats) in &ports {
        let port = port.number().to_string();
        for (server, seconds) in [("app", &stats.app_seconds), ("target", &stats.target_seconds)] {
            let labels = [
                ("workload", &*entry.name),
                ("annotation", &*rule.annotation),
                ("port", &*port),
                ("server", server),
            ];
            seconds.encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn encode_rules(
    encoder: &mut DescriptorEncoder<'_>,
    workloads: &[Arc<WorkloadEntry>],
) -> fmt::Result {
    use crate::control::status::State;

    let mut family =
        encoder.encode_descriptor("rules", "Rules by their state", None, MetricType::Gauge)?;
    for state in [State::Active, State::Pending, State::Refused, State::Expired] {
        let rules = workloads.iter().flat_map(|entry| &entry.rules);
        let count = rules.filter(|rule| rule.condition.state == state).count() as u64;
        let name = state.to_string();
        ConstGauge::new(count).encode(family.encode_family(&[("state", &*name)])?)?;
    }
    Ok(())
}

fn encode_cluster(encoder: &mut DescriptorEncoder<'_>, cluster: &Cluster) -> fmt::Result {
    let help = "Requests to the API server";
    let mut family = encoder.encode_descriptor("api_requests", help, None, MetricType::Counter)?;
    for (verb, resource, code, count) in cluster.requests.counts() {
        let labels = [("verb", verb), ("resource", &*resource), ("code", &*code)];
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    let help = "Events on pods, by what became of them";
    let mut family = encoder.encode_descriptor("events", help, None, MetricType::Counter)?;
    for (reason, outcome, count) in cluster.events.counts() {
        ConstCounter::new(count)
            .encode(family.encode_family(&[("reason", reason), ("outcome", outcome)])?)?;
    }
    let help = "Watches of the API server that broke and were begun again";
    let errors = ConstCounter::new(cluster.watch_errors.count());
    errors.encode(encoder.encode_descriptor("watch_errors", help, None, MetricType::Counter)?)?;

    let (seen, annotated) = cluster.store.counts();
    let help = "Pods of this node, by whether they have annotations of ours";
    let mut family = encoder.encode_descriptor("pods", help, None, MetricType::Gauge)?;
    for (state, count) in [("annotated", annotated), ("other", seen - annotated)] {
        ConstGauge::new(count as u64).encode(family.encode_family(&[("state", state)])?)?;
    }
    Ok(())
}
