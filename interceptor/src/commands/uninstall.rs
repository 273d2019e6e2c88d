//! `interceptor uninstall`: ends the daemons while they still have the rights to clean up.
//!
//! `helm uninstall` deletes all objects of a release at once, also the daemons' rights. Without
//! these, the conditions on pods would stay. Therefore the chart runs this command first.
//!
//! A daemon on a node that is away can't end. Its pod is deleted by force. Its account loses the
//! rights, since the daemon may still run. Then the conditions that it leaves are removed
//! (`conditions.rs`).
//!
//! The command may run twice at the same time, on two nodes, since one of these may be away.

mod conditions;
mod delete;
mod job;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Node, Pod},
    rbac::v1::ClusterRoleBinding,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use tokio::time::{Instant, sleep};

use self::delete::{delete_by_force, existed};

/// The pause between two reads of the DaemonSet.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Time after a pod's grace period, at whose end the kubelet kills the pod. If the pod still exists
/// then, its node is away. The node's status may not show it yet.
const AWAY_AFTER: Duration = Duration::from_secs(5);
/// Time after which the API server surely applies a change of rights. It sees the change by a watch
/// of its own.
const RIGHTS_DELAY: Duration = Duration::from_secs(1);

/// The daemons to end.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The DaemonSet's namespace
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub namespace: String,

    /// The DaemonSet's name
    #[arg(long, value_name = "NAME")]
    pub daemonset: String,

    /// The ClusterRoleBinding of the daemons; it is deleted before conditions are removed
    #[arg(long, value_name = "NAME")]
    pub binding: String,

    /// The Job that runs this command, perhaps in two pods
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,

    /// The pod of the last `helm test`; it is deleted as well
    #[arg(long, value_name = "NAME")]
    pub test_pod: Option<String>,

    /// Maximum time for its pods to end
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// A pod of the DaemonSet that has not ended.
#[derive(Debug)]
struct Daemon {
    name: String,
    uid: String,
    node: String,
    /// How long it may take to end. `None` while it is not being deleted.
    grace: Option<Duration>,
}

/// Deletes the DaemonSet and waits until all of its pods are gone. Then removes the conditions that
/// are left on any pod. A missing DaemonSet is fine.
///
/// # Errors
/// The DaemonSet can't be deleted, a pod does not end in time, or conditions can't be removed.
pub async fn run(options: &Options) -> Result<()> {
    println!(
        "{}",
        end(Client::try_default().await.context("find the API server")?, options).await?
    );
    Ok(())
}

/// Returns sentences about the result.
async fn end(client: Client, options: &Options) -> Result<String> {
    let daemonsets = Api::<DaemonSet>::namespaced(client.clone(), &options.namespace);
    let pods = Api::<Pod>::namespaced(client.clone(), &options.namespace);
    let bindings = Api::<ClusterRoleBinding>::all(client.clone());
    if let Some(name) = &options.test_pod {
        let deleted = pods.delete(name, &DeleteParams::default()).await;
        existed(deleted).with_context(|| format!("delete the pod {name}"))?;
    }
    let name = &options.daemonset;
    // In the foreground: the DaemonSet exists until the last of its pods is gone.
    let deleted = daemonsets.delete(name, &DeleteParams::foreground()).await;
    let mut away = BTreeSet::new();
    let mut result = if existed(deleted).with_context(|| format!("delete the DaemonSet {name}"))? {
        let nodes = Api::<Node>::all(client.clone());
        away = wait_for_end(&daemonsets, &pods, &nodes, options).await?;
        let mut result = format!("the DaemonSet {name} and its pods have ended");
        for node in &away {
            result += &format!(
                "\nnode {node} is away: the daemon's pod there was deleted by force, and ends when \
                 the node is back"
            );
        }
        result
    } else {
        format!("there is no DaemonSet {name}")
    };
    let binding = &options.binding;
    let deleted = bindings.delete(binding, &DeleteParams::default()).await;
    existed(deleted).with_context(|| format!("delete the ClusterRoleBinding {binding}"))?;
    sleep(RIGHTS_DELAY).await;
    let cleaned = conditions::remove(&client).await?;
    if cleaned > 0 {
        result += &format!("\nremoved the conditions that were left on {cleaned} pods");
    }
    if let Some(job) = &options.job {
        job::forget_stuck_pods(&client, &options.namespace, job, &away).await?;
    }
    Ok(result)
}

/// Waits until the DaemonSet is gone. Returns the nodes that are away.
async fn wait_for_end(
    daemonsets: &Api<DaemonSet>,
    pods: &Api<Pod>,
    nodes: &Api<Node>,
    options: &Options,
) -> Result<BTreeSet<String>> {
    let deadline = Instant::now() + options.timeout;
    // Since when each pod is known to be deleted, by uid: this clock may differ from the API's.
    let mut deleted_since = BTreeMap::new();
    let mut away = BTreeSet::new();
    while let Some(daemonset) =
        daemonsets.get_opt(&options.daemonset).await.context("look at the DaemonSet")?
    {
        let now = Instant::now();
        let left = left(pods, &daemonset).await?;
        if now >= deadline {
            let left: Vec<_> = left.iter().map(ToString::to_string).collect();
            bail!("pods still run after {:?}: {}", options.timeout, left.join(", "));
        }
        for daemon in left {
            let Some(grace) = daemon.grace else { continue };
            let since = *deleted_since.entry(daemon.uid.clone()).or_insert(now);
            let is_overdue = now >= since + grace + AWAY_AFTER;
            if is_overdue || !is_ready(nodes, &daemon.node).await? {
                delete_by_force(pods, &daemon.name, &daemon.uid).await?;
                away.insert(daemon.node);
            }
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(away)
}

/// Whether the node reports to the API server. A node that was deleted does not.
async fn is_ready(nodes: &Api<Node>, name: &str) -> Result<bool> {
    let node = nodes.get_opt(name).await.with_context(|| format!("look at the node {name}"))?;
    let conditions = node.and_then(|node| node.status?.conditions).unwrap_or_default();
    Ok(conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"))
}

/// The remaining pods of the DaemonSet.
async fn left(pods: &Api<Pod>, daemonset: &DaemonSet) -> Result<Vec<Daemon>> {
    let uid = daemonset.uid();
    let pods = pods.list(&ListParams::default()).await.context("list the remaining pods")?;
    let ours = pods.items.into_iter().filter(|pod| {
        pod.owner_references().iter().any(|owner| uid.as_ref().is_some_and(|uid| owner.uid == *uid))
    });
    Ok(ours.map(Daemon::of).collect())
}

// === impl Daemon ===

impl Daemon {
    fn of(pod: Pod) -> Self {
        let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
        let grace = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        Self {
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            grace: pod.metadata.deletion_timestamp.is_some().then_some(grace),
            node: pod.spec.and_then(|spec| spec.node_name).unwrap_or_else(|| "none".to_owned()),
        }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.name, self.node)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::kubernetes::fake::{client, not_found, status};

    /// The grace period of a daemon's pod.
    const GRACE: Duration = Duration::from_secs(1);
    const DAEMONSET: &str = "/apis/apps/v1/namespaces/here/daemonsets/daemons";
    const PODS: &str = "/api/v1/namespaces/here/pods";
    const BINDING: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/rights";
    const JOB: &str = "/apis/batch/v1/namespaces/here/jobs/ending";
    const NODE: &str = "/api/v1/nodes/far";
    /// The list of pods of all namespaces, for their conditions.
    const ALL_PODS: &str = "/api/v1/pods";

    fn options(test_pod: Option<&str>) -> Options {
        Options {
            namespace: "here".to_owned(),
            daemonset: "daemons".to_owned(),
            binding: "rights".to_owned(),
            job: Some("ending".to_owned()),
            test_pod: test_pod.map(str::to_owned),
            timeout: Duration::from_millis(700),
        }
    }

    fn daemonset() -> (u16, Value) {
        (200, json!({ "metadata": { "name": "daemons", "uid": "1" } }))
    }

    fn list(items: &[Value]) -> (u16, Value) {
        (200, json!({ "metadata": {}, "items": items }))
    }

    fn node(ready: &str) -> (u16, Value) {
        (200, json!({ "status": { "conditions": [{ "type": "Ready", "status": ready }] } }))
    }

    /// A pod of the command's own Job on node `near`, in this phase.
    fn sibling(name: &str, phase: &str) -> Value {
        json!({
            "metadata": { "name": name, "uid": format!("uid-{name}") },
            "spec": { "nodeName": "near", "containers": [] },
            "status": { "phase": phase },
        })
    }

    /// A pod on node `far`. With a grace period in seconds, it is being deleted.
    fn pod(name: &str, owner: &str, grace: Option<u64>) -> Value {
        let owner =
            json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": owner });
        json!({
            "metadata": {
                "name": name,
                "uid": format!("uid-{name}"),
                "ownerReferences": [owner],
                "deletionGracePeriodSeconds": grace,
                "deletionTimestamp": grace.map(|_| "2026-11-30T12:00:00Z"),
            },
            "spec": { "nodeName": "far", "containers": [] },
        })
    }

    #[tokio::test]
    async fn a_missing_daemonset_has_ended() {
        let (client, requests) = client(|request, _| match request.split_once(' ') {
            Some(("GET", ALL_PODS | PODS)) => list(&[]),
            _ => not_found(),
        });
        let done = end(client, &options(Some("test"))).await.expect("nothing to do");
        assert_eq!(done, "there is no DaemonSet daemons");
        let deletions = [format!("DELETE {PODS}/test"), format!("DELETE {DAEMONSET}")];
        assert_eq!(requests.all()[..2], deletions);
    }

    #[tokio::test]
    async fn it_waits_for_the_last_pod() {
        let (client, requests) =
            client(|request, before| match (request.split_once(' '), before) {
                (Some(("DELETE", _)), _) => (200, status(200, "")),
                (Some(("GET", DAEMONSET)), 0..3) => daemonset(),
                (Some(("GET", PODS | ALL_PODS)), _) => list(&[]),
                _ => not_found(),
            });
        let patient = Options { timeout: Duration::from_secs(30), ..options(None) };
        let done = end(client, &patient).await.expect("they end");
        assert_eq!(done, "the DaemonSet daemons and its pods have ended");
        let looks = requests.all().iter().filter(|one| one.ends_with(DAEMONSET)).count();
        assert_eq!(looks, 1 + 3 + 1, "{requests:?}");
    }

    #[tokio::test]
    async fn a_pod_that_does_not_end_is_named() {
        let (client, _) = client(|request, _| match request.split_once(' ') {
            Some(("GET", PODS)) => list(&[pod("ours", "1", None), pod("another", "2", None)]),
            _ => daemonset(),
        });
        let error = end(client, &options(None)).await.expect_err("one does not end");
        assert_eq!(error.to_string(), "pods still run after 700ms: ours on far");
    }

    #[rstest]
    #[case::its_status_shows_it("Unknown", Duration::ZERO)]
    #[case::its_status_does_not_show_it_yet("True", GRACE + AWAY_AFTER)]
    #[tokio::test]
    async fn the_pod_of_a_node_that_is_away_is_deleted_by_force(
        #[case] ready: &'static str,
        #[case] after: Duration,
    ) {
        let forced = Arc::new(AtomicBool::new(false));
        let (client, requests) = client({
            let forced = Arc::clone(&forced);
            move |request, _| match request.split_once(' ') {
                Some(("DELETE", path)) => {
                    forced.fetch_or(path == format!("{PODS}/ours"), Ordering::Relaxed);
                    (200, status(200, ""))
                }
                Some(("GET", NODE)) => node(ready),
                Some(("GET", ALL_PODS)) => list(&[]),
                Some(("PATCH", JOB)) => (200, json!({ "metadata": {} })),
                Some(("GET", PODS)) if forced.load(Ordering::Relaxed) => {
                    list(&[sibling("this", "Running"), sibling("other", "Pending")])
                }
                _ if forced.load(Ordering::Relaxed) => not_found(),
                Some(("GET", PODS)) => {
                    list(&[pod("ours", "1", Some(GRACE.as_secs())), pod("another", "2", Some(0))])
                }
                _ => daemonset(),
            }
        });
        let started = Instant::now();
        let patient = Options { timeout: Duration::from_secs(60), ..options(None) };
        let done = end(client, &patient).await.expect("the pod goes");
        assert!(done.contains("node far is away"), "{done}");
        let (least, most) = (after + RIGHTS_DELAY, after + RIGHTS_DELAY + 4 * POLL_INTERVAL);
        assert!((least..=most).contains(&started.elapsed()), "{:?}", started.elapsed());
        let requests = requests.all();
        let deleted = requests.iter().filter_map(|one| one.strip_prefix("DELETE "));
        let (ours, other) = (format!("{PODS}/ours"), format!("{PODS}/other"));
        assert_eq!(deleted.collect::<Vec<_>>(), [DAEMONSET, &ours, BINDING, &other]);
        let at = |wanted: &str| requests.iter().position(|one| one == wanted);
        assert!(at(&format!("GET {ALL_PODS}")) > at(&format!("DELETE {BINDING}")), "{requests:?}");
        assert!(at(&format!("DELETE {other}")) > at(&format!("PATCH {JOB}")), "{requests:?}");
    }

    #[tokio::test]
    async fn a_missing_right_is_an_error() {
        let (client, _) = client(|_, _| (403, status(403, "Forbidden")));
        let error = end(client, &options(None)).await.expect_err("it may not");
        assert!(format!("{error:#}").starts_with("delete the DaemonSet daemons"), "{error:#}");
    }
}
