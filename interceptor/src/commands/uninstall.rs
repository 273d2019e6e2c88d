//! `interceptor uninstall`: ends the daemons while they still have the rights to clean up.
//!
//! `helm uninstall` deletes all objects of a release at once, also the daemons' rights. Without
//! these, the conditions on pods would stay. Therefore the chart runs this command first.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use tokio::time::{Instant, sleep};

/// The pause between two reads of the DaemonSet.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The daemons to end.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The DaemonSet's namespace
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub namespace: String,

    /// The DaemonSet's name
    #[arg(long, value_name = "NAME")]
    pub daemonset: String,

    /// The pod of the last `helm test`; it is deleted as well
    #[arg(long, value_name = "NAME")]
    pub test_pod: Option<String>,

    /// Maximum time for its pods to end
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// Deletes the DaemonSet and waits until all of its pods are gone. A missing DaemonSet is fine.
///
/// # Errors
/// The DaemonSet can't be deleted, or a pod does not end in time.
pub async fn run(options: &Options) -> Result<()> {
    println!(
        "{}",
        end(Client::try_default().await.context("find the API server")?, options).await?
    );
    Ok(())
}

/// Returns a sentence about the result.
async fn end(client: Client, options: &Options) -> Result<String> {
    let daemonsets = Api::<DaemonSet>::namespaced(client.clone(), &options.namespace);
    let pods = Api::<Pod>::namespaced(client, &options.namespace);
    if let Some(name) = &options.test_pod {
        let deleted = pods.delete(name, &DeleteParams::default()).await;
        existed(deleted).with_context(|| format!("delete the pod {name}"))?;
    }
    let name = &options.daemonset;
    // In the foreground: the DaemonSet exists until the last of its pods is gone.
    let deleted = daemonsets.delete(name, &DeleteParams::foreground()).await;
    if !existed(deleted).with_context(|| format!("delete the DaemonSet {name}"))? {
        return Ok(format!("there is no DaemonSet {name}"));
    }
    let deadline = Instant::now() + options.timeout;
    while let Some(daemonset) = daemonsets.get_opt(name).await.context("look at the DaemonSet")? {
        if Instant::now() >= deadline {
            let left = left(&pods, &daemonset).await?;
            bail!("pods still run after {:?}: {}", options.timeout, left.join(", "));
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(format!("the DaemonSet {name} and its pods have ended"))
}

/// Whether the deleted object existed. Other errors stay errors.
fn existed<T>(deleted: kube::Result<T>) -> kube::Result<bool> {
    match deleted {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The remaining pods of the DaemonSet with their nodes, for messages.
async fn left(pods: &Api<Pod>, daemonset: &DaemonSet) -> Result<Vec<String>> {
    let uid = daemonset.uid();
    let pods = pods.list(&ListParams::default()).await.context("list the remaining pods")?;
    let ours = pods.items.into_iter().filter(|pod| {
        pod.owner_references().iter().any(|owner| uid.as_ref().is_some_and(|uid| owner.uid == *uid))
    });
    Ok(ours
        .map(|pod| {
            let node =
                pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("no node");
            format!("{} on {node}", pod.name_any())
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::fake::{client, not_found, status};

    const DAEMONSET: &str = "/apis/apps/v1/namespaces/here/daemonsets/daemons";
    const PODS: &str = "/api/v1/namespaces/here/pods";

    fn options(test_pod: Option<&str>) -> Options {
        Options {
            namespace: "here".to_owned(),
            daemonset: "daemons".to_owned(),
            test_pod: test_pod.map(str::to_owned),
            timeout: Duration::from_millis(700),
        }
    }

    fn daemonset() -> (u16, serde_json::Value) {
        (200, json!({ "metadata": { "name": "daemons", "uid": "1" } }))
    }

    #[tokio::test]
    async fn a_missing_daemonset_has_ended() {
        let (client, requests) = client(|_, _| not_found());
        let done = end(client, &options(Some("test"))).await.expect("nothing to do");
        assert_eq!(done, "there is no DaemonSet daemons");
        assert_eq!(requests.all(), [format!("DELETE {PODS}/test"), format!("DELETE {DAEMONSET}")]);
    }

    #[tokio::test]
    async fn it_waits_for_the_last_pod() {
        let (client, requests) =
            client(|request, before| match (request.split_once(' '), before) {
                (Some(("DELETE", _)), _) => (200, status(200, "")),
                (Some(("GET", DAEMONSET)), 0..3) => daemonset(),
                _ => not_found(),
            });
        let patient = Options { timeout: Duration::from_secs(30), ..options(None) };
        let done = end(client, &patient).await.expect("they end");
        assert_eq!(done, "the DaemonSet daemons and its pods have ended");
        assert_eq!(requests.all().len(), 1 + 3 + 1, "{requests:?}");
    }

    #[tokio::test]
    async fn a_pod_that_does_not_end_is_named() {
        let pod = |name: &str, owner: &str| {
            let owner =
                json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": owner });
            json!({
                "metadata": { "name": name, "ownerReferences": [owner] },
                "spec": { "nodeName": "far", "containers": [] },
            })
        };
        let list = json!({ "items": [pod("ours", "1"), pod("another", "2")] });
        let (client, _) = client(move |request, _| match request.split_once(' ') {
            Some(("GET", PODS)) => (200, list.clone()),
            _ => daemonset(),
        });
        let error = end(client, &options(None)).await.expect_err("one does not end");
        assert_eq!(error.to_string(), "pods still run after 700ms: ours on far");
    }

    #[tokio::test]
    async fn a_missing_right_is_an_error() {
        let (client, _) = client(|_, _| (403, status(403, "Forbidden")));
        let error = end(client, &options(None)).await.expect_err("it may not");
        assert!(format!("{error:#}").starts_with("delete the DaemonSet daemons"), "{error:#}");
    }
}
