//! Prepares the recognition of a pod's `exec` probes and hooks, and says which of them can't be
//! recognised.
//!
//! A restarted container has another id. Then the spec changes, and the next step prepares again,
//! while the workload stays armed.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use interceptor_api::{Standing, State};
use interceptor_rule::{Local, Rule};
use parking_lot::Mutex;

use crate::{
    config::workloads::{ExecChecks, WorkloadSpec},
    datapath::{
        caller::cgroup::{CgroupError, CgroupRoot},
        containers::PodCgroup,
    },
    netns::sock_diag::{SockDiag, SockDiagError},
    relay::{checks::CheckFinder, workload::Workload},
};

/// The state of the recognition for one armed workload.
#[derive(Debug, Default)]
pub(super) struct CheckWatch {
    /// The checks that can't be recognised, and the reason.
    failed: Option<(ExecChecks, String)>,
}

/// Why `exec` checks can't be recognised.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    /// The kernel does not tell the cgroups of sockets.
    #[error(transparent)]
    Kernel(#[from] &'static SockDiagError),
    /// No socket can be opened in the pod's network namespace.
    #[error("open a socket in the pod's network namespace: {0}")]
    Open(#[from] io::Error),
    /// The node's cgroups can't be read.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// No cgroup is the pod's.
    #[error("the pod's cgroup was not found in {}", .0.display())]
    NotFound(PathBuf),
}

// === impl CheckWatch ===

impl CheckWatch {
    /// Brings the workload's side to the spec. Does nothing if the spec's checks have not changed.
    pub(super) fn update(&mut self, workload: &Workload, spec: &WorkloadSpec) {
        let wanted = &spec.exec_checks;
        if wanted.containers.is_empty() {
            workload.checks.store(None);
            self.failed = None;
            return;
        }
        let before = workload.checks.load_full();
        let is_done = before.as_ref().is_some_and(|finder| finder.checks() == wanted);
        let has_failed = self.failed.as_ref().is_some_and(|(checks, _)| checks == wanted);
        if is_done || has_failed {
            return;
        }
        match finder(workload, spec, before.as_deref()) {
            Ok(finder) => {
                workload.checks.store(Some(Arc::new(finder)));
                self.failed = None;
            }
            Err(error) => {
                tracing::warn!(workload = %spec.name, %error, "can't recognise {wanted}");
                workload.checks.store(None);
                self.failed = Some((wanted.clone(), error.to_string()));
            }
        }
    }

    /// Adds to the standing of a rule in force which checks it may redirect. A rule that says what
    /// becomes of connections from inside the pod is not concerned.
    pub(super) fn warn(&self, rule: &Rule, standing: Standing) -> Standing {
        let Some((checks, why)) = self.failed.as_ref() else { return standing };
        if rule.local != Local::ExceptChecks || standing.state != State::Active {
            return standing;
        }
        let Standing { message, .. } = &standing;
        let message = format!(
            "{message}; {checks} may be redirected, too, because {why}: add `with local-to-app` to \
             leave all connections from inside the pod with the app, or `with local-to-target`"
        );
        Standing { message, ..standing }
    }
}

fn finder(
    workload: &Workload,
    spec: &WorkloadSpec,
    before: Option<&CheckFinder>,
) -> Result<CheckFinder, CheckError> {
    static KERNEL: OnceLock<Result<(), SockDiagError>> = OnceLock::new();
    KERNEL.get_or_init(SockDiag::prove).as_ref()?;
    let checks = spec.exec_checks.clone();
    let diag = match before {
        Some(before) => Arc::clone(before.diag()),
        None => Arc::new(Mutex::new(workload.netns.sock_diag()?)),
    };
    // The pod's cgroup stays when a container restarts, and is found without its old id then.
    if let Some(pod) = before.map(CheckFinder::pod).filter(|pod| pod.exists()) {
        return Ok(CheckFinder::new(checks, pod.clone(), diag));
    }
    let root = CgroupRoot::find()?;
    let uid = spec.uid().map_or("", |uid| &**uid);
    let ids: Vec<_> = checks.ids().collect();
    let pod = PodCgroup::find(&root.path, uid, &ids).ok_or(CheckError::NotFound(root.path))?;
    Ok(CheckFinder::new(checks, pod, diag))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::config::workloads::{CheckedContainer, ExecCheck};

    #[rstest]
    #[case::default("80 -> a:1", true)]
    #[case::to_app("80 -> a:1 with local-to-app", false)]
    #[case::to_target("80 -> a:1 with local-to-target", false)]
    fn a_rule_in_force_names_the_probes_at_risk_unless_it_says_where_they_go(
        #[case] rule: &str,
        #[case] warns: bool,
    ) {
        let container = CheckedContainer {
            name: "web".into(),
            id: None,
            checks: vec![ExecCheck::Liveness],
            is_spared: true,
        };
        let checks = ExecChecks { containers: vec![container], others: Vec::new() };
        let why = CgroupError::NotMounted.to_string();
        let watch = CheckWatch { failed: Some((checks, why)) };
        let rule = &interceptor_rule::parse(rule).expect("a rule")[0];
        let message = watch.warn(rule, Standing::active("new connections reach a:1")).message;
        let warning = "; container web: its exec liveness probe may be redirected, too, because no \
                       cgroup v2 file system is mounted: add `with local-to-app`";
        assert!(message.starts_with("new connections reach a:1"), "{message}");
        assert_eq!(message.contains(warning), warns, "{message}");

        let nothing = CheckWatch::default().warn(rule, Standing::active("x"));
        assert_eq!(nothing.message, "x");
    }
}
