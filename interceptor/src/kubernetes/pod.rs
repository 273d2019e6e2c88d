//! Reads the object of a pod. No I/O: the same object gives the same result.

use std::{net::IpAddr, num::NonZeroU16, sync::Arc, time::SystemTime};

use interceptor_api::{AnnotationKey, ConditionType};
use k8s_openapi::{
    api::core::v1::{Container, ContainerPort, HTTPGetAction, Pod, PodCondition, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::config::{
    annotation::DeclaredPorts,
    workloads::{
        AnnotatedRules, HealthCheck, HealthSign, MAX_ANNOTATIONS, MAX_DECLARED_PORTS, NetnsSource,
        Obstacle, WorkloadName, WorkloadSpec, Written,
    },
};

/// The `User-Agent` of the kubelet's probes begins with this.
const KUBE_PROBE: &str = "kube-probe/";
/// The `User-Agent` of the kubelet's lifecycle hooks begins with this.
const KUBE_LIFECYCLE: &str = "kube-lifecycle/";
/// Parts of the names of runtime classes whose pods have no network namespace in the node's kernel.
const SANDBOXES: [&str; 4] = ["gvisor", "runsc", "kata", "firecracker"];

/// What the daemon reads from a pod of this node.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenPod {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name, unique in the namespace.
    pub name: Arc<str>,
    /// Its uid. A StatefulSet gives the name of an old pod to a new one.
    pub uid: Arc<str>,
    /// Its resource version, which grows with each change of the object. 0 if it is not a number.
    pub version: u64,
    /// The addresses in its status, as far as they are its own. Empty for a pod in the node's
    /// network and for one that has ended or is being deleted.
    pub addresses: Vec<IpAddr>,
    /// When the last of its running containers started, according to its status.
    pub started: Option<SystemTime>,
    /// Its conditions of interceptor.
    pub conditions: Vec<PodCondition>,
    /// What its annotations ask for. `None` without annotations of interceptor.
    pub workload: Option<WorkloadSpec>,
}

// === impl SeenPod ===

impl SeenPod {
    /// Whether it has conditions of interceptor but no annotations: an earlier daemon could not
    /// remove them.
    #[must_use]
    pub fn is_leftover(&self) -> bool {
        self.workload.is_none() && !self.conditions.is_empty()
    }
}

/// Reads a pod's object. `None` without a name, namespace or uid, which the API server always
/// sends.
#[must_use]
pub fn read(pod: &Pod) -> Option<SeenPod> {
    let namespace: Arc<str> = pod.metadata.namespace.as_deref()?.into();
    let name: Arc<str> = pod.metadata.name.as_deref()?.into();
    let uid: Arc<str> = pod.metadata.uid.as_deref()?.into();
    let version = pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let conditions =
        conditions.filter(|condition| ConditionType::is_ours(&condition.type_)).cloned().collect();
    let ips = addresses(pod);
    let obstacle = obstacle(pod, &ips);
    let owns_addresses = obstacle.is_none() && pod.metadata.deletion_timestamp.is_none();
    let mut seen = SeenPod {
        version: version.unwrap_or_default(),
        conditions,
        workload: None,
        addresses: if owns_addresses { ips.clone() } else { Vec::new() },
        started: last_start(pod),
        namespace,
        name,
        uid,
    };
    seen.workload = workload(pod, &seen, ips, obstacle);
    Some(seen)
}

fn workload(
    pod: &Pod,
    seen: &SeenPod,
    ips: Vec<IpAddr>,
    obstacle: Option<Obstacle>,
) -> Option<WorkloadSpec> {
    let annotations = pod.metadata.annotations.iter().flatten();
    let ours = annotations.filter_map(|(key, value)| Some((AnnotationKey::new(key)?, value)));
    let count = ours.clone().count();
    if count == 0 {
        return None;
    }
    let declared = declared_ports(pod);
    let rules = ours.take(MAX_ANNOTATIONS).map(|(key, value)| {
        let written = written_at(pod, key.as_str());
        AnnotatedRules::of_pod(key, value, written, &declared)
    });
    let rules = rules.collect();
    let obstacle =
        if count > MAX_ANNOTATIONS { Some(Obstacle::TooManyAnnotations(count)) } else { obstacle };
    Some(WorkloadSpec {
        terminating: pod.metadata.deletion_timestamp.is_some(),
        name: WorkloadName::of_pod(&seen.namespace, &seen.name),
        netns: NetnsSource::Pod { uid: Arc::clone(&seen.uid), ips },
        ports: declared.numbers,
        rules,
        health_checks: health_checks(pod),
        obstacle,
    })
}

/// When the annotation `key` was last written, and with which tool, according to `managedFields` of
/// the pod.
fn written_at(pod: &Pod, key: &str) -> Option<Written> {
    let field = format!("f:{key}");
    let owners = pod.metadata.managed_fields.iter().flatten().filter(|entry| {
        let fields =
            entry.fields_v1.as_ref().map(|fields| &fields.0["f:metadata"]["f:annotations"]);
        fields.is_some_and(|annotations| annotations.get(&field).is_some())
    });
    let written = owners.filter_map(|entry| {
        let with = entry.manager.as_deref().unwrap_or_default().into();
        Some(Written { at: entry.time.as_ref()?.0.into(), with })
    });
    written.max_by_key(|written| written.at)
}

fn obstacle(pod: &Pod, ips: &[IpAddr]) -> Option<Obstacle> {
    let spec = pod.spec.as_ref()?;
    if spec.host_network == Some(true) {
        return Some(Obstacle::HostNetwork);
    }
    if let Some(class) = &spec.runtime_class_name
        && SANDBOXES.iter().any(|sandbox| class.to_ascii_lowercase().contains(sandbox))
    {
        return Some(Obstacle::Sandboxed(class.clone()));
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    match phase.as_str() {
        "Succeeded" | "Failed" => Some(Obstacle::Ended(phase)),
        _ if ips.is_empty() => Some(Obstacle::NotRunning(phase)),
        _ if is_without_sandbox(pod) => Some(Obstacle::NoSandbox),
        _ => None,
    }
}

/// Whether the pod's sandbox, which had its address, is gone. The kubelet reports that since
/// Kubernetes 1.29 (`PodReadyToStartContainers`). A pod that is being deleted does not get another
/// sandbox.
fn is_without_sandbox(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "PodReadyToStartContainers");
    pod.metadata.deletion_timestamp.is_none() && ready.any(|condition| condition.status == "False")
}

fn last_start(pod: &Pod) -> Option<SystemTime> {
    let status = pod.status.iter();
    let containers = status.flat_map(|status| {
        let inits = status.init_container_statuses.iter().flatten();
        status.container_statuses.iter().flatten().chain(inits)
    });
    let running = containers.filter_map(|container| container.state.as_ref()?.running.as_ref());
    running.filter_map(|running| Some(SystemTime::from(running.started_at.as_ref()?.0))).max()
}

fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let listed = status.pod_ips.iter().flatten().map(|pod_ip| pod_ip.ip.as_str());
    let mut ips: Vec<IpAddr> = status
        .pod_ip
        .as_deref()
        .into_iter()
        .chain(listed)
        .filter_map(|ip| ip.parse().ok())
        .collect();
    ips.dedup();
    ips
}

/// Containers that run at the same time: the main ones, and init containers that stay (sidecars).
fn running_containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.iter();
    spec.flat_map(|spec| {
        let inits = spec.init_containers.iter().flatten();
        let sidecars = inits.filter(|init| init.restart_policy.as_deref() == Some("Always"));
        spec.containers.iter().chain(sidecars)
    })
}

fn container_ports(container: &Container) -> impl Iterator<Item = &ContainerPort> {
    let tcp =
        |port: &&ContainerPort| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    container.ports.iter().flatten().filter(tcp)
}

fn declared_ports(pod: &Pod) -> DeclaredPorts {
    let mut declared = DeclaredPorts::default();
    for port in running_containers(pod).flat_map(container_ports) {
        if let Some(number) = port_number(port.container_port)
            && !declared.numbers.contains(&number)
            && declared.numbers.len() < MAX_DECLARED_PORTS
        {
            declared.numbers.push(number);
            declared.names.extend(port.name.clone().map(|name| (name, number)));
        }
    }
    declared
}

fn port_number(number: i32) -> Option<NonZeroU16> {
    u16::try_from(number).ok().and_then(NonZeroU16::new)
}

fn health_checks(pod: &Pod) -> Vec<HealthCheck> {
    let mut checks = Vec::new();
    for container in running_containers(pod) {
        let probes =
            [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
        let probes =
            probes.into_iter().flatten().filter_map(|probe| health_check(container, probe));
        for check in probes.chain(hooks(container)) {
            if !checks.contains(&check) {
                checks.push(check);
            }
        }
    }
    checks
}

/// How to recognise a probe's connections. `None` for probes that send nothing and for those
/// without a connection (`exec`). The relay accepts `tcpSocket` probes itself, even if the target
/// is away.
fn health_check(container: &Container, probe: &Probe) -> Option<HealthCheck> {
    if let Some(grpc) = &probe.grpc {
        return Some(HealthCheck { port: port_number(grpc.port)?, sign: HealthSign::Http2 });
    }
    http_check(container, probe.http_get.as_ref()?, KUBE_PROBE)
}

/// The requests of `postStart` and `preStop` hooks, which belong to the app as well.
fn hooks(container: &Container) -> impl Iterator<Item = HealthCheck> {
    let hooks = container
        .lifecycle
        .iter()
        .flat_map(|lifecycle| [&lifecycle.post_start, &lifecycle.pre_stop]);
    let calls = hooks.flatten().filter_map(|hook| hook.http_get.as_ref());
    calls.filter_map(move |http| http_check(container, http, KUBE_LIFECYCLE))
}

fn http_check(container: &Container, http: &HTTPGetAction, agent: &str) -> Option<HealthCheck> {
    let port = match &http.port {
        IntOrString::Int(number) => port_number(*number)?,
        IntOrString::String(name) => {
            let named =
                container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name))?;
            port_number(named.container_port)?
        }
    };
    Some(HealthCheck { port, sign: http_sign(http, agent)? })
}

fn http_sign(http: &HTTPGetAction, agent: &str) -> Option<HealthSign> {
    if http.scheme.as_deref() == Some("HTTPS") {
        return Some(HealthSign::Tls);
    }
    let mut headers = http.http_headers.iter().flatten();
    let own = headers.find(|header| header.name.eq_ignore_ascii_case("user-agent"));
    let agent = own.map_or(agent, |header| header.value.as_str());
    // The kubelet sends no empty `User-Agent`, so such a request can't be recognised.
    (!agent.is_empty()).then(|| HealthSign::UserAgent(agent.to_owned()))
}

#[cfg(test)]
mod tests;
