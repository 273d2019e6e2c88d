//! Where specs come from: the trait [`Source`], and its implementations for a file and for flags.
//!
//! The pods of a node are a source, too. `kubernetes/store.rs` implements the trait for them, so
//! that the control side does not depend on Kubernetes.

use std::{path::PathBuf, time::Duration};

use tokio::{sync::mpsc::UnboundedSender, time::sleep};

use super::{context::Wake, facts::watch::FileWatch, task::OwnedTask};
use crate::config::{
    workloads::{self, WorkloadSpec},
    yaml::ReadError,
};

/// The delay between checks for a folder that does not exist.
const ABSENT_RETRY: Duration = Duration::from_secs(1);

/// The specs of this node's workloads. The reconciler reads them at start and at each
/// [`Wake::Source`].
pub trait Source: Send + Sync {
    /// Reads the current specs.
    ///
    /// # Errors
    /// When the source can't be read or parsed. The specs that were read last stay in force.
    fn workloads(&self) -> Result<Vec<WorkloadSpec>, ReadError>;

    /// Whether the source knows all its specs. Until then the reconciler changes nothing: a spec
    /// that is missing may just not have arrived.
    fn is_complete(&self) -> bool {
        true
    }

    /// Starts a task that sends [`Wake::Source`] at each change. `None` when the source never
    /// changes, or when its writer sends the wakes.
    fn watch(&self, wakes: &UnboundedSender<Wake>) -> Option<OwnedTask> {
        let _ = wakes;
        None
    }
}

/// Specs in a file, which may change or be replaced at any time.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
}

/// Specs from the command line.
#[derive(Debug)]
pub struct FlagSource {
    specs: Vec<WorkloadSpec>,
}

// === impl FileSource ===

impl FileSource {
    /// The workloads file at `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Source for FileSource {
    fn workloads(&self) -> Result<Vec<WorkloadSpec>, ReadError> {
        Ok(workloads::read(&self.path)?.workloads)
    }

    fn watch(&self, wakes: &UnboundedSender<Wake>) -> Option<OwnedTask> {
        match FileWatch::new(&self.path) {
            Ok(watch) => {
                Some(OwnedTask::spawn(watch_file(watch, self.path.clone(), wakes.clone())))
            }
            Err(error) => {
                tracing::error!(
                    %error,
                    file = %self.path.display(),
                    "can't watch the workloads file; send SIGHUP after a change"
                );
                None
            }
        }
    }
}

/// Wakes the reconciler at each change. Watches the new folder when the file's folder is replaced.
async fn watch_file(mut watch: FileWatch, path: PathBuf, wakes: UnboundedSender<Wake>) {
    loop {
        while watch.changed().await.is_ok() {
            if wakes.send(Wake::Source).is_err() {
                return;
            }
            if !watch.is_current() {
                break;
            }
        }
        tracing::info!(file = %path.display(), "the folder of the workloads file was replaced");
        watch = loop {
            match FileWatch::new(&path) {
                Ok(watch) => break watch,
                Err(_) => sleep(ABSENT_RETRY).await,
            }
        };
        let _ = wakes.send(Wake::Source);
    }
}

// === impl FlagSource ===

impl FlagSource {
    /// These specs, made from flags.
    #[must_use]
    pub fn new(specs: Vec<WorkloadSpec>) -> Self {
        Self { specs }
    }
}

impl Source for FlagSource {
    fn workloads(&self) -> Result<Vec<WorkloadSpec>, ReadError> {
        Ok(self.specs.clone())
    }
}
