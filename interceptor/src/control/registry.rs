//! The published state of the control side. Status, metrics and reports read it at any time.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use interceptor_api::Standing;
use interceptor_common::port::Port;
use parking_lot::Mutex;

use crate::{
    config::workloads::Written,
    datapath::PodPrograms,
    readiness::Readiness,
    relay::{stats::PortStats, workload::Workload},
};

/// All workloads, and the state of the source of their specs.
#[derive(Default)]
pub struct Registry {
    workloads: Mutex<BTreeMap<Arc<str>, Arc<WorkloadEntry>>>,
    /// Why the current workloads file is not in force.
    source_error: Mutex<Option<String>>,
    /// The tasks that must be done before the daemon is ready.
    readiness: Readiness,
    /// Called with the name of each workload that is published or removed.
    listener: OnceLock<Listener>,
}

type Listener = Box<dyn Fn(&Arc<str>) + Send + Sync>;

/// One workload as published.
pub struct WorkloadEntry {
    /// Its name.
    pub name: Arc<str>,
    /// The pod's uid, if the workload is a pod.
    pub uid: Option<Arc<str>>,
    /// Where its namespace is, or where the daemon looks for it.
    pub netns: String,
    /// Both sides of its attachment. `None`: it is not armed.
    pub armed: Option<Armed>,
    /// Why it is not armed, when it has rules to put in force.
    pub failure: Option<Standing>,
    /// Whether another daemon of this node redirects some of its ports.
    pub is_contested: bool,
    /// Its rules.
    pub rules: Vec<RuleEntry>,
}

/// The two sides of an armed workload, for their counters.
pub struct Armed {
    /// What the workers see.
    pub workload: Arc<Workload>,
    /// What runs in the kernel. The reconciler uses it at the same time.
    pub programs: Arc<Mutex<PodPrograms>>,
}

/// One rule as published.
pub struct RuleEntry {
    /// The annotation's key.
    pub annotation: String,
    /// Its text, in canonical form. `None` if it can't be parsed.
    pub text: Option<String>,
    /// The target.
    pub target: Option<String>,
    /// The ports that it takes, or will take.
    pub declared: Vec<Port>,
    /// Whether it has a condition or a share.
    pub has_condition: bool,
    /// Its state and reason.
    pub condition: Standing,
    /// When its annotation was last written, and with which tool, if that is known.
    pub written: Option<Written>,
    /// The ports that it has taken, with their counters.
    pub ports: Vec<(Port, Arc<PortStats>)>,
}

// === impl WorkloadEntry ===

impl WorkloadEntry {
    /// The number of rules that take connections, or will once they are no longer pending.
    #[must_use]
    pub fn admitted(&self) -> usize {
        self.rules.iter().filter(|rule| !rule.declared.is_empty()).count()
    }
}

// === impl RuleEntry ===

#[cfg(test)]
impl RuleEntry {
    /// A rule without ports, for tests.
    pub fn bare(annotation: &str, text: &str, condition: Standing) -> Self {
        Self {
            annotation: annotation.to_owned(),
            text: Some(text.to_owned()),
            target: None,
            declared: Vec::new(),
            has_condition: false,
            condition,
            written: None,
            ports: Vec::new(),
        }
    }
}

// === impl Registry ===

impl Registry {
    /// Publishes a workload. Replaces the entry of the same name.
    pub fn publish(&self, entry: WorkloadEntry) {
        let name = Arc::clone(&entry.name);
        self.workloads.lock().insert(Arc::clone(&name), Arc::new(entry));
        self.notify(&name);
    }

    /// Calls `listener` at every change from now on. Further listeners are ignored.
    pub fn listen(&self, listener: impl Fn(&Arc<str>) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    /// The entry of one workload.
    #[must_use]
    pub fn workload(&self, name: &str) -> Option<Arc<WorkloadEntry>> {
        self.workloads.lock().get(name).cloned()
    }

    /// Removes a workload.
    pub fn remove(&self, name: &Arc<str>) {
        self.workloads.lock().remove(name);
        self.notify(name);
    }

    fn notify(&self, name: &Arc<str>) {
        if let Some(listener) = self.listener.get() {
            listener(name);
        }
    }

    /// All entries, by name.
    #[must_use]
    pub fn workloads(&self) -> Vec<Arc<WorkloadEntry>> {
        self.workloads.lock().values().cloned().collect()
    }

    /// Sets why the workloads file is not in force. `None`: it is.
    pub fn set_source_error(&self, error: Option<String>) {
        *self.source_error.lock() = error;
    }

    /// Why the workloads file is not in force.
    #[must_use]
    pub fn source_error(&self) -> Option<String> {
        self.source_error.lock().clone()
    }

    /// The tasks that must be done before the daemon is ready.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Whether the daemon is ready. Every workload has had its first step then.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness.is_ready()
    }
}
