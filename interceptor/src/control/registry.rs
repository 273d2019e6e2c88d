//! What the control side publishes, for status and metrics to read at any time.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use interceptor_common::port::Port;
use parking_lot::Mutex;

use super::status::Standing;
use crate::{
    datapath::PodPrograms,
    readiness::Readiness,
    relay::{stats::PortStats, workload::Workload},
};

/// All workloads, and what is to be said of the place where they are written.
#[derive(Default)]
pub struct Registry {
    workloads: Mutex<BTreeMap<Arc<str>, Arc<WorkloadEntry>>>,
    /// Why the workloads file as it stands now is not in force.
    source_error: Mutex<Option<String>>,
    /// What the daemon waits for before it is ready.
    readiness: Readiness,
    /// Hears the name of each workload that is published or forgotten.
    listener: OnceLock<Listener>,
}

type Listener = Box<dyn Fn(&Arc<str>) + Send + Sync>;

/// One workload as published.
pub struct WorkloadEntry {
    /// Its name.
    pub name: Arc<str>,
    /// The pod's identity, if it is one.
    pub uid: Option<Arc<str>>,
    /// Where its namespace is looked for.
    pub netns: String,
    /// Both sides of its attachment, if it is armed.
    pub armed: Option<Armed>,
    /// Why nothing is, when something should be.
    pub failure: Option<Standing>,
    /// Its rules.
    pub rules: Vec<RuleEntry>,
}

/// The two sides of an armed workload, for their counters.
pub struct Armed {
    /// What the workers see.
    pub workload: Arc<Workload>,
    /// What runs in the kernel. The reconciler takes and releases ports with it meanwhile.
    pub programs: Arc<Mutex<PodPrograms>>,
}

/// One rule as published.
pub struct RuleEntry {
    /// The annotation's key.
    pub annotation: String,
    /// What it says, in its canonical form; `None` if that can't be read.
    pub text: Option<String>,
    /// Where to.
    pub target: Option<String>,
    /// The ports that it is to take.
    pub declared: Vec<Port>,
    /// It has a condition or a share.
    pub is_choosy: bool,
    /// Where it stands.
    pub condition: Standing,
    /// It is active, and its target silent: callers reach the application.
    pub fell_back: bool,
    /// The ports that it has taken, with their counters.
    pub ports: Vec<(Port, Arc<PortStats>)>,
}

// === impl WorkloadEntry ===

impl WorkloadEntry {
    /// Rules that take connections, or will when what they wait for comes.
    #[must_use]
    pub fn admitted(&self) -> usize {
        self.rules.iter().filter(|rule| !rule.declared.is_empty()).count()
    }
}

// === impl RuleEntry ===

#[cfg(test)]
impl RuleEntry {
    /// A rule that has taken no port.
    pub fn bare(annotation: &str, text: &str, condition: Standing) -> Self {
        Self {
            annotation: annotation.to_owned(),
            text: Some(text.to_owned()),
            target: None,
            declared: Vec::new(),
            is_choosy: false,
            condition,
            fell_back: false,
            ports: Vec::new(),
        }
    }
}

// === impl Registry ===

impl Registry {
    /// Publishes a workload in place of what was known of it.
    pub fn publish(&self, entry: WorkloadEntry) {
        let name = Arc::clone(&entry.name);
        self.lock().insert(Arc::clone(&name), Arc::new(entry));
        self.tell(&name);
    }

    /// Has `listener` told of every change from now on. Only the first listener is.
    pub fn listen(&self, listener: impl Fn(&Arc<str>) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    /// What is published of one workload.
    #[must_use]
    pub fn workload(&self, name: &str) -> Option<Arc<WorkloadEntry>> {
        self.lock().get(name).cloned()
    }

    /// Forgets a workload.
    pub fn remove(&self, name: &Arc<str>) {
        self.lock().remove(name);
        self.tell(name);
    }

    fn tell(&self, name: &Arc<str>) {
        if let Some(listener) = self.listener.get() {
            listener(name);
        }
    }

    /// Everything that is published, by name.
    #[must_use]
    pub fn workloads(&self) -> Vec<Arc<WorkloadEntry>> {
        self.lock().values().cloned().collect()
    }

    /// Notes why what is written can't be read, or that it can.
    pub fn set_source_error(&self, error: Option<String>) {
        *self.source_error.lock() = error;
    }

    /// Why what is written is not in force.
    #[must_use]
    pub fn source_error(&self) -> Option<String> {
        self.source_error.lock().clone()
    }

    /// What the daemon waits for before it is ready.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Whether the daemon is ready: every workload has had its first step, among others.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness.is_ready()
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, BTreeMap<Arc<str>, Arc<WorkloadEntry>>> {
        self.workloads.lock()
    }
}
