//! Reads the `exec` probes and hooks of a pod, and the ids of its containers.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, LifecycleHandler, Pod, Probe};

use crate::config::workloads::{CheckedContainer, ContainerId, ExecCheck, ExecChecks};

/// The containers with `exec` probes or hooks, among those that run at the same time. Nothing for a
/// pod without them, so that a change of its container ids changes nothing.
pub(super) fn read(pod: &Pod, running: &[&Container]) -> ExecChecks {
    let is_alone = running.len() == 1;
    let is_ending = pod.metadata.deletion_timestamp.is_some();
    let containers: Vec<_> = running
        .iter()
        .filter_map(|container| {
            let checks = checks(container);
            let status = statuses(pod).find(|status| status.name == container.name);
            let has_started = status.and_then(|status| status.started) == Some(true);
            let may_run = |check: &ExecCheck| match check {
                ExecCheck::Liveness | ExecCheck::Readiness | ExecCheck::Startup => true,
                ExecCheck::PostStart => !has_started,
                ExecCheck::PreStop => is_ending,
            };
            // Without a second container there is no proxy whose traffic could be mistaken.
            let is_spared = is_alone || checks.iter().any(may_run);
            (!checks.is_empty()).then(|| CheckedContainer {
                name: Arc::from(container.name.as_str()),
                id: status.and_then(id),
                checks,
                is_spared,
            })
        })
        .collect();
    if containers.is_empty() {
        return ExecChecks::default();
    }
    let is_checked =
        |status: &&ContainerStatus| containers.iter().any(|checked| *checked.name == *status.name);
    let others = statuses(pod).filter(|status| !is_checked(status)).filter_map(id).collect();
    ExecChecks { containers, others }
}

fn checks(container: &Container) -> Vec<ExecCheck> {
    let is_exec = |probe: &Option<Probe>| probe.as_ref().is_some_and(|probe| probe.exec.is_some());
    let hooks = container.lifecycle.as_ref();
    let hook =
        |handler: Option<&LifecycleHandler>| handler.is_some_and(|handler| handler.exec.is_some());
    let found = [
        (ExecCheck::Liveness, is_exec(&container.liveness_probe)),
        (ExecCheck::Readiness, is_exec(&container.readiness_probe)),
        (ExecCheck::Startup, is_exec(&container.startup_probe)),
        (ExecCheck::PostStart, hook(hooks.and_then(|hooks| hooks.post_start.as_ref()))),
        (ExecCheck::PreStop, hook(hooks.and_then(|hooks| hooks.pre_stop.as_ref()))),
    ];
    found.into_iter().filter(|(_, has)| *has).map(|(check, _)| check).collect()
}

/// The statuses of all containers, also of those that run once.
fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        let inits = status.init_container_statuses.iter().flatten();
        let ephemeral = status.ephemeral_container_statuses.iter().flatten();
        status.container_statuses.iter().flatten().chain(inits).chain(ephemeral)
    })
}

fn id(status: &ContainerStatus) -> Option<ContainerId> {
    ContainerId::new(status.container_id.as_deref()?)
}
