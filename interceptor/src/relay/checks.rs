//! Recognises the connections of a pod's `exec` probes and hooks, which keep reaching the app.
//!
//! A probe's process runs in the cgroup of its container, and the kernel tells the cgroup of its
//! socket. Addresses tell nothing: a mesh's proxy and `kubectl port-forward` connect from the same
//! ones.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::addr::{ClientAddr, OrigDst};
use crate::{
    config::workloads::{CheckedContainer, ExecChecks},
    datapath::containers::{ContainerCgroup, PodCgroup},
    netns::sock_diag::{CgroupId, Ends, SockDiag},
};

/// Maximum number of cgroups whose answer is remembered.
const MAX_REMEMBERED: usize = 1024;

/// Recognises the connections of a pod's `exec` checks.
#[derive(Debug)]
pub struct CheckFinder {
    checks: ExecChecks,
    pod: PodCgroup,
    diag: Arc<Mutex<SockDiag>>,
    remembered: Mutex<HashMap<CgroupId, bool>>,
}

// === impl CheckFinder ===

impl CheckFinder {
    /// A finder for the pod with this cgroup. `diag` answers for its network namespace.
    #[must_use]
    pub fn new(checks: ExecChecks, pod: PodCgroup, diag: Arc<Mutex<SockDiag>>) -> Self {
        Self { checks, pod, diag, remembered: Mutex::default() }
    }

    /// The checks that it was made for.
    #[must_use]
    pub fn checks(&self) -> &ExecChecks {
        &self.checks
    }

    /// The pod's cgroup.
    #[must_use]
    pub fn pod(&self) -> &PodCgroup {
        &self.pod
    }

    /// The socket that answers for the pod's network namespace.
    #[must_use]
    pub fn diag(&self) -> &Arc<Mutex<SockDiag>> {
        &self.diag
    }

    /// Whether `client`, which connected to `original`, is in a container whose checks may run. No,
    /// if the kernel does not tell.
    #[must_use]
    pub fn is_check(&self, client: ClientAddr, original: OrigDst) -> bool {
        let ends = Ends { local: client.0, peer: original.0 };
        let answer = self.diag.lock().cgroup_of(ends);
        match answer {
            Ok(cgroup) => self.is_checked(cgroup),
            Err(error) => {
                tracing::debug!(%client, %original, %error, "the client's cgroup is unknown");
                false
            }
        }
    }

    /// Whether the cgroup belongs to a container whose checks may run.
    fn is_checked(&self, cgroup: CgroupId) -> bool {
        if let Some(known) = self.remembered.lock().get(&cgroup) {
            return *known;
        }
        // A new container, or one that has made a cgroup below its own.
        let containers = self.pod.containers();
        let owner = containers.iter().find(|container| container.cgroups.contains(&cgroup));
        let Some(owner) = owner else {
            // Not one of the pod's containers. `kubectl port-forward` is the runtime's process.
            self.remember(cgroup, false);
            return false;
        };
        if let Some(checked) = self.checks.containers.iter().find(|checked| is_in(owner, checked)) {
            self.remember(cgroup, checked.is_spared);
            return checked.is_spared;
        }
        if self.checks.others.iter().any(|id| owner.is_of(id)) {
            self.remember(cgroup, false);
            return false;
        }
        // The kubelet has not reported it yet. It may be the next start of a checked container that
        // has no cgroup now. The answer changes with the report, so it is not remembered.
        let is_running = |checked: &CheckedContainer| {
            containers.iter().any(|container| is_in(container, checked))
        };
        let checks = &self.checks.containers;
        checks.iter().any(|checked| checked.is_checked_early() && !is_running(checked))
    }

    fn remember(&self, cgroup: CgroupId, answer: bool) {
        let mut remembered = self.remembered.lock();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(cgroup, answer);
    }
}

fn is_in(cgroup: &ContainerCgroup, container: &CheckedContainer) -> bool {
    container.id.as_ref().is_some_and(|id| cgroup.is_of(id))
}
