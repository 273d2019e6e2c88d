//! The pods of this node as they were last seen. The watch writes, the reconciler and the reports read.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::SystemTime,
};

use k8s_openapi::api::core::v1::PodCondition;
use parking_lot::Mutex;

use super::{boot::Boot, pod::SeenPod};
use crate::{
    config::{
        policy::Policy,
        workloads::{Obstacle, WorkloadSpec},
        yaml::ReadError,
    },
    control::source::Source,
};

/// What is known of the cluster.
#[derive(Debug)]
pub struct Store {
    policy: Arc<Policy>,
    /// When the node was started.
    boot: Option<Boot>,
    known: Mutex<Known>,
}

/// What has changed about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodChange {
    /// The pod, as its workload is called.
    pub name: Arc<str>,
    /// What it asks for, or what stands in the way of that or of another pod's, beside the conditions that it carries.
    pub workload: bool,
}

#[derive(Debug, Default)]
struct Known {
    /// By namespace and name.
    pods: BTreeMap<(Arc<str>, Arc<str>), SeenPod>,
    /// Pods are known, as opposed to not heard of yet.
    listed: bool,
    /// Namespaces that the policy chooses; `None` until they are known.
    namespaces: Option<BTreeSet<String>>,
}

// === impl Store ===

impl Store {
    /// A store of nothing, on a node that was started at `boot`, if that is known.
    #[must_use]
    pub fn new(policy: Arc<Policy>, boot: Option<Boot>) -> Self {
        Self { policy, boot, known: Mutex::default() }
    }

    /// Whether enough is known to act on: without the list of namespaces, all pods would look refused.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let known = self.lock();
        known.listed && (self.policy.namespaces().is_none() || known.namespaces.is_some())
    }

    /// Every pod with annotations of ours, as the reconciler wants it.
    #[must_use]
    pub fn workloads(&self) -> Vec<WorkloadSpec> {
        let known = self.lock();
        known.pods.values().filter_map(|pod| self.admit(pod, &known)).collect()
    }

    /// The pod that a workload is called after.
    #[must_use]
    pub fn pod(&self, workload: &str) -> Option<SeenPod> {
        let (namespace, name) = workload.split_once('/')?;
        self.lock().pods.get(&(namespace.into(), name.into())).cloned()
    }

    /// Pods with something left on them, as their workloads would be called.
    #[must_use]
    pub fn leftovers(&self) -> Vec<Arc<str>> {
        let known = self.lock();
        known.pods.values().filter(|pod| pod.is_leftover()).map(SeenPod::workload_name).collect()
    }

    /// How many pods there are, and how many of them have annotations of ours.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let known = self.lock();
        (known.pods.len(), known.pods.values().filter(|pod| pod.workload.is_some()).count())
    }

    /// Takes in a pod as it is now. Gives what has changed.
    pub fn apply(&self, mut pod: SeenPod) -> Option<PodChange> {
        let mut known = self.lock();
        let before = known.pods.remove(&pod.key());
        before.iter().for_each(|before| pod.keep_times(before));
        let change = known.change(before.as_ref(), Some(&pod));
        known.pods.insert(pod.key(), pod);
        change
    }

    /// Forgets a pod. Gives what has changed.
    pub fn delete(&self, pod: &SeenPod) -> Option<PodChange> {
        let mut known = self.lock();
        let before = known.pods.remove(&pod.key());
        known.change(before.as_ref(), None)
    }

    /// Replaces everything: the watch has begun anew.
    pub fn replace(&self, pods: Vec<SeenPod>) {
        let mut known = self.lock();
        let before = std::mem::take(&mut known.pods);
        known.pods = pods
            .into_iter()
            .map(|mut pod| {
                before.get(&pod.key()).into_iter().for_each(|before| pod.keep_times(before));
                (pod.key(), pod)
            })
            .collect();
        known.listed = true;
    }

    /// Replaces the set of namespaces that the policy chooses.
    pub fn replace_namespaces(&self, names: BTreeSet<String>) {
        self.lock().namespaces = Some(names);
    }

    /// Adds a namespace to those that the policy chooses, or takes it out.
    pub fn set_namespace(&self, name: String, chosen: bool) {
        if let Some(namespaces) = &mut self.lock().namespaces {
            if chosen {
                namespaces.insert(name);
            } else {
                namespaces.remove(&name);
            }
        }
    }

    /// The pod's workload, with what stands in its way beside the pod's own object.
    fn admit(&self, pod: &SeenPod, known: &Known) -> Option<WorkloadSpec> {
        let mut workload = pod.workload.clone()?;
        let chosen = known.namespaces.as_ref().is_none_or(|names| names.contains(&*pod.namespace));
        let refusal = if chosen { None } else { self.policy.refuse_namespace(&pod.namespace) };
        let is_stale =
            || self.boot.zip(pod.started).is_some_and(|(boot, started)| boot.is_after(started));
        if let Some(refusal) = refusal {
            workload.obstacle = Some(Obstacle::Policy(refusal));
        } else if workload.obstacle.is_none() {
            workload.obstacle =
                if is_stale() { Some(Obstacle::NoSandbox) } else { known.rival(pod) };
        }
        Some(workload)
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Known> {
        self.known.lock()
    }
}

/// The watch sends the wakes.
impl Source for Store {
    fn workloads(&self) -> Result<Vec<WorkloadSpec>, ReadError> {
        Ok(self.workloads())
    }

    fn is_complete(&self) -> bool {
        self.is_complete()
    }
}

// === impl Known ===

impl Known {
    /// A pod that is said to have an address of `pod`'s.
    fn rival(&self, pod: &SeenPod) -> Option<Obstacle> {
        let shared =
            |other: &SeenPod| pod.addresses.iter().find(|ip| other.addresses.contains(ip)).copied();
        let others = self.pods.values().filter(|other| other.uid != pod.uid);
        let (ip, with) =
            others.filter_map(|other| Some((shared(other)?, other.workload_name()))).next()?;
        Some(Obstacle::SharedAddress { ip, with: with.to_string() })
    }

    /// What has changed about a pod, which is not among the others.
    fn change(&self, before: Option<&SeenPod>, now: Option<&SeenPod>) -> Option<PodChange> {
        let pod = now.or(before)?;
        fn asks(pod: Option<&SeenPod>) -> Option<(&WorkloadSpec, Option<SystemTime>)> {
            pod.and_then(|pod| Some((pod.workload.as_ref()?, pod.started)))
        }
        fn addresses(pod: Option<&SeenPod>) -> &[IpAddr] {
            pod.map_or(&[], |pod| &pod.addresses)
        }
        fn conditions(pod: Option<&SeenPod>) -> &[PodCondition] {
            pod.map_or(&[], |pod| &pod.conditions)
        }
        let (left, come) = (addresses(before), addresses(now));
        let concerns = |other: &SeenPod| {
            other.workload.is_some()
                && other.addresses.iter().any(|ip| left.contains(ip) || come.contains(ip))
        };
        let concerns_others = left != come && self.pods.values().any(concerns);
        let workload = asks(before) != asks(now) || concerns_others;
        (workload || conditions(before) != conditions(now))
            .then(|| PodChange { name: pod.workload_name(), workload })
    }
}

// === impl SeenPod ===

impl SeenPod {
    /// What the pod's workload is called.
    fn workload_name(&self) -> Arc<str> {
        format!("{}/{}", self.namespace, self.name).into()
    }

    fn key(&self) -> (Arc<str>, Arc<str>) {
        (Arc::clone(&self.namespace), Arc::clone(&self.name))
    }

    /// What stands there as it stood `before` was written when it was written then: the API server keeps one time for all
    /// that a tool has written on the pod, and a `ttl` does not begin again because of something else.
    fn keep_times(&mut self, before: &Self) {
        if self.uid != before.uid {
            return;
        }
        let known = before.workload.iter().flat_map(|workload| &workload.rules);
        let known: Vec<_> = known.collect();
        for rules in self.workload.iter_mut().flat_map(|workload| &mut workload.rules) {
            let same =
                known.iter().find(|known| known.key == rules.key && known.value == rules.value);
            if let Some(written) = same.and_then(|known| known.written) {
                rules.written = Some(written);
            }
        }
    }
}

#[cfg(test)]
mod tests;
