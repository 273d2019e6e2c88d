//! The pods of this node as last seen. The watches write them; the reconciler and the reports read
//! them.

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

/// The pods of this node, and the namespaces that the policy selects.
#[derive(Debug)]
pub struct Store {
    policy: Arc<Policy>,
    /// When the node booted, if that is known.
    boot: Option<Boot>,
    known: Mutex<Known>,
}

/// A change of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodChange {
    /// The name of the pod's workload.
    pub name: Arc<str>,
    /// Whether more than its conditions changed: what it asks for, or an obstacle of this pod or
    /// of another one.
    pub workload: bool,
}

#[derive(Debug, Default)]
struct Known {
    /// The pods, by namespace and name.
    pods: BTreeMap<(Arc<str>, Arc<str>), SeenPod>,
    /// Whether the first list of pods has arrived.
    listed: bool,
    /// The namespaces that the policy selects; `None` until their first list has arrived.
    namespaces: Option<BTreeSet<String>>,
}

// === impl Store ===

impl Store {
    /// An empty store, on a node with this `boot`, if that is known.
    #[must_use]
    pub fn new(policy: Arc<Policy>, boot: Option<Boot>) -> Self {
        Self { policy, boot, known: Mutex::default() }
    }

    /// Whether every list has arrived. Without the list of namespaces, all pods would look refused.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let known = self.known.lock();
        known.listed && (self.policy.namespaces().is_none() || known.namespaces.is_some())
    }

    /// Every pod with annotations of interceptor, as a workload.
    #[must_use]
    pub fn workloads(&self) -> Vec<WorkloadSpec> {
        let known = self.known.lock();
        known.pods.values().filter_map(|pod| self.admit(pod, &known)).collect()
    }

    /// The pod of the workload with this name.
    #[must_use]
    pub fn pod(&self, workload: &str) -> Option<SeenPod> {
        let (namespace, name) = workload.split_once('/')?;
        self.known.lock().pods.get(&(namespace.into(), name.into())).cloned()
    }

    /// Pods with conditions of interceptor but without annotations, by workload name.
    #[must_use]
    pub fn leftovers(&self) -> Vec<Arc<str>> {
        let known = self.known.lock();
        known.pods.values().filter(|pod| pod.is_leftover()).map(SeenPod::workload_name).collect()
    }

    /// The number of pods, and of pods with annotations of interceptor.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let known = self.known.lock();
        (known.pods.len(), known.pods.values().filter(|pod| pod.workload.is_some()).count())
    }

    /// Adds or replaces a pod. Returns what changed, if anything did.
    pub fn apply(&self, mut pod: SeenPod) -> Option<PodChange> {
        let mut known = self.known.lock();
        let before = known.pods.remove(&pod.key());
        before.iter().for_each(|before| pod.keep_times(before));
        let change = known.change(before.as_ref(), Some(&pod));
        known.pods.insert(pod.key(), pod);
        change
    }

    /// Removes a pod. Returns what changed, if anything did.
    pub fn delete(&self, pod: &SeenPod) -> Option<PodChange> {
        let mut known = self.known.lock();
        let before = known.pods.remove(&pod.key());
        known.change(before.as_ref(), None)
    }

    /// Replaces all pods, after the watch has listed them again.
    pub fn replace(&self, pods: Vec<SeenPod>) {
        let mut known = self.known.lock();
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

    /// Replaces the set of namespaces that the policy selects.
    pub fn replace_namespaces(&self, names: BTreeSet<String>) {
        self.known.lock().namespaces = Some(names);
    }

    /// Adds a namespace to the selected ones, or removes it.
    pub fn set_namespace(&self, name: String, selected: bool) {
        if let Some(namespaces) = &mut self.known.lock().namespaces {
            if selected {
                namespaces.insert(name);
            } else {
                namespaces.remove(&name);
            }
        }
    }

    /// The pod's workload, with the obstacles that the pod's own object does not show.
    fn admit(&self, pod: &SeenPod, known: &Known) -> Option<WorkloadSpec> {
        let mut workload = pod.workload.clone()?;
        let selected =
            known.namespaces.as_ref().is_none_or(|names| names.contains(&*pod.namespace));
        let refusal = if selected { None } else { self.policy.refuse_namespace(&pod.namespace) };
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
}

/// The watches wake the reconciler.
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
    /// Another pod that reports an address of `pod`.
    fn rival(&self, pod: &SeenPod) -> Option<Obstacle> {
        let shared =
            |other: &SeenPod| pod.addresses.iter().find(|ip| other.addresses.contains(ip)).copied();
        let others = self.pods.values().filter(|other| other.uid != pod.uid);
        let (ip, with) =
            others.filter_map(|other| Some((shared(other)?, other.workload_name()))).next()?;
        Some(Obstacle::SharedAddress { ip, with: with.to_string() })
    }

    /// What changed about a pod. `self` has all other pods.
    fn change(&self, before: Option<&SeenPod>, now: Option<&SeenPod>) -> Option<PodChange> {
        let pod = now.or(before)?;
        fn spec(pod: Option<&SeenPod>) -> Option<(&WorkloadSpec, Option<SystemTime>)> {
            pod.and_then(|pod| Some((pod.workload.as_ref()?, pod.started)))
        }
        fn addresses(pod: Option<&SeenPod>) -> &[IpAddr] {
            pod.map_or(&[], |pod| &pod.addresses)
        }
        fn conditions(pod: Option<&SeenPod>) -> &[PodCondition] {
            pod.map_or(&[], |pod| &pod.conditions)
        }
        let (old, new) = (addresses(before), addresses(now));
        let concerns = |other: &SeenPod| {
            other.workload.is_some()
                && other.addresses.iter().any(|ip| old.contains(ip) || new.contains(ip))
        };
        let concerns_others = old != new && self.pods.values().any(concerns);
        let workload = spec(before) != spec(now) || concerns_others;
        (workload || conditions(before) != conditions(now))
            .then(|| PodChange { name: pod.workload_name(), workload })
    }
}

// === impl SeenPod ===

impl SeenPod {
    /// The name of the pod's workload.
    fn workload_name(&self) -> Arc<str> {
        format!("{}/{}", self.namespace, self.name).into()
    }

    fn key(&self) -> (Arc<str>, Arc<str>) {
        (Arc::clone(&self.namespace), Arc::clone(&self.name))
    }

    /// Keeps the times of annotations that have not changed since `before`.
    ///
    /// The API server keeps one time for everything that a tool wrote on the pod. A `ttl` must not
    /// start again because the tool wrote something else.
    fn keep_times(&mut self, before: &Self) {
        if self.uid != before.uid {
            return;
        }
        let known = before.workload.iter().flat_map(|workload| &workload.rules);
        let known: Vec<_> = known.collect();
        for rules in self.workload.iter_mut().flat_map(|workload| &mut workload.rules) {
            let same =
                known.iter().find(|known| known.key == rules.key && known.value == rules.value);
            if let Some(written) = same.and_then(|known| known.written.clone()) {
                rules.written = Some(written);
            }
        }
    }
}

#[cfg(test)]
mod tests;
