//! The other pod of the command's Job.
//!
//! The Job runs two pods, since one may be on a node that is away. Kubernetes counts the Job as
//! complete only after every pod of it has ended, and a pod on such a node does not end.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::delete::delete_by_force;

/// Deletes the pods of the Job by force that have not begun, and those on nodes that are `away`.
///
/// # Errors
/// The API server refuses a request or does not answer.
pub(super) async fn forget_stuck_pods(
    client: &Client,
    namespace: &str,
    job: &str,
    away: &BTreeSet<String>,
) -> Result<()> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let ours = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
    let ours = pods.list(&ours).await.context("list the pods of the Job")?;
    let stuck: Vec<_> = ours.items.iter().filter(|pod| is_stuck(pod, away)).collect();
    if stuck.is_empty() {
        return Ok(());
    }
    // Otherwise the Job would get another pod in place of each, perhaps on the same node.
    let jobs = Api::<Job>::namespaced(client.clone(), namespace);
    let one_pod = Patch::Merge(json!({ "spec": { "parallelism": 1 } }));
    jobs.patch(job, &PatchParams::default(), &one_pod)
        .await
        .with_context(|| format!("reduce the Job {job} to one pod"))?;
    for pod in stuck {
        delete_by_force(&pods, &pod.name_any(), &pod.uid().unwrap_or_default()).await?;
    }
    Ok(())
}

fn is_stuck(pod: &Pod, away: &BTreeSet<String>) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    match phase {
        Some("Succeeded" | "Failed") => false,
        Some("Running") => node.is_some_and(|node| away.contains(node)),
        _ => true,
    }
}
