//! The pods of this node as they were last seen. The watch writes, the reconciler and the reports read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::pod::SeenPod;
use crate::config::{
    policy::Policy,
    workloads::{Obstacle, Workload},
};

/// What is known of the cluster.
#[derive(Debug)]
pub struct Store {
    policy: Arc<Policy>,
    known: Mutex<Known>,
}

/// What has changed about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The pod, as its workload is called.
    pub name: Arc<str>,
    /// What it asks for, beside the conditions that it carries.
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
    /// A store of nothing.
    #[must_use]
    pub fn new(policy: Arc<Policy>) -> Self {
        Self { policy, known: Mutex::default() }
    }

    /// Whether enough is known to act on: without the list of namespaces, all pods would look refused.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let known = self.lock();
        known.listed && (self.policy.namespaces().is_none() || known.namespaces.is_some())
    }

    /// Every pod with annotations of ours, as the reconciler wants it.
    #[must_use]
    pub fn workloads(&self) -> Vec<Workload> {
        let known = self.lock();
        known.pods.values().filter_map(|pod| self.admit(pod, known.namespaces.as_ref())).collect()
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
        known.pods.values().filter(|pod| pod.is_leftover()).map(workload_name).collect()
    }

    /// How many pods there are, and how many of them have annotations of ours.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let known = self.lock();
        (known.pods.len(), known.pods.values().filter(|pod| pod.workload.is_some()).count())
    }

    /// Takes in a pod as it is now. Gives what has changed.
    pub fn apply(&self, pod: SeenPod) -> Option<Change> {
        let mut known = self.lock();
        let key = (Arc::clone(&pod.namespace), Arc::clone(&pod.name));
        let change = change(known.pods.get(&key), Some(&pod));
        known.pods.insert(key, pod);
        change
    }

    /// Forgets a pod. Gives what has changed.
    pub fn delete(&self, pod: &SeenPod) -> Option<Change> {
        let before = self.lock().pods.remove(&(Arc::clone(&pod.namespace), Arc::clone(&pod.name)));
        change(before.as_ref(), None)
    }

    /// Replaces everything: the watch has begun anew.
    pub fn replace(&self, pods: Vec<SeenPod>) {
        let mut known = self.lock();
        known.pods =
            pods.into_iter().map(|pod| ((Arc::clone(&pod.namespace), Arc::clone(&pod.name)), pod)).collect();
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

    /// The pod's workload, with what the policy says of its namespace.
    fn admit(&self, pod: &SeenPod, namespaces: Option<&BTreeSet<String>>) -> Option<Workload> {
        let mut workload = pod.workload.clone()?;
        let chosen = namespaces.is_none_or(|names| names.contains(&*pod.namespace));
        if !chosen && let Some(refusal) = self.policy.refuse_namespace(&pod.namespace) {
            workload.obstacle = Some(Obstacle::Policy(refusal));
        }
        Some(workload)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn change(before: Option<&SeenPod>, now: Option<&SeenPod>) -> Option<Change> {
    let pod = now.or(before)?;
    let said = |pod: Option<&SeenPod>| pod.and_then(|pod| pod.workload.clone());
    let carried = |pod: Option<&SeenPod>| pod.map(|pod| pod.conditions.clone()).unwrap_or_default();
    let workload = said(before) != said(now);
    let conditions = carried(before) != carried(now);
    (workload || conditions).then(|| Change { name: workload_name(pod), workload })
}

fn workload_name(pod: &SeenPod) -> Arc<str> {
    format!("{}/{}", pod.namespace, pod.name).into()
}
