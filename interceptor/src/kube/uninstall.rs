//! `interceptor uninstall`: ends the daemons while they still have the right to clean up after themselves.
//!
//! `helm uninstall` deletes a release's objects all at once, the rights of the daemons among them, and what a daemon says
//! on pods would stay there. So the chart runs this before.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use tokio::time::{Instant, sleep};

const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// The daemons.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The DaemonSet's namespace
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub namespace: String,

    /// The DaemonSet's name
    #[arg(long, value_name = "NAME")]
    pub daemonset: String,

    /// The pod of the last `helm test`, to be deleted as well
    #[arg(long, value_name = "NAME")]
    pub test_pod: Option<String>,

    /// How long its pods may take to end
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// Deletes the DaemonSet and waits until none of its pods is left. A DaemonSet that is not there is fine.
///
/// # Errors
/// When it can't be deleted, or a pod does not end.
pub async fn run(options: &Options) -> Result<()> {
    let client = Client::try_default().await.context("find the API server")?;
    let daemonsets = Api::<DaemonSet>::namespaced(client.clone(), &options.namespace);
    let pods = Api::<Pod>::namespaced(client, &options.namespace);
    if let Some(name) = &options.test_pod {
        let deleted = pods.delete(name, &DeleteParams::default()).await;
        is_there(deleted).with_context(|| format!("delete the pod {name}"))?;
    }
    let name = &options.daemonset;
    // In the foreground: the DaemonSet is there until the last of its pods has gone.
    let deleted = daemonsets.delete(name, &DeleteParams::foreground()).await;
    if !is_there(deleted).with_context(|| format!("delete the DaemonSet {name}"))? {
        println!("there is no DaemonSet {name}");
        return Ok(());
    }
    let deadline = Instant::now() + options.timeout;
    while let Some(daemonset) = daemonsets.get_opt(name).await.context("look at the DaemonSet")? {
        if Instant::now() >= deadline {
            let left = left(&pods, &daemonset).await?;
            bail!("after {:?} there are still: {}", options.timeout, left.join(", "));
        }
        sleep(BETWEEN_LOOKS).await;
    }
    println!("the DaemonSet {name} and its pods have ended");
    Ok(())
}

/// Whether what was to be deleted was there; other failures stay failures.
fn is_there<T>(deleted: kube::Result<T>) -> kube::Result<bool> {
    match deleted {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Pods of the DaemonSet with their nodes, for people.
async fn left(pods: &Api<Pod>, daemonset: &DaemonSet) -> Result<Vec<String>> {
    let uid = daemonset.uid();
    let pods = pods.list(&ListParams::default()).await.context("list the pods that are left")?;
    let ours = pods.items.into_iter().filter(|pod| {
        pod.owner_references().iter().any(|owner| uid.as_ref().is_some_and(|uid| owner.uid == *uid))
    });
    Ok(ours
        .map(|pod| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("no node");
            format!("{} on {node}", pod.name_any())
        })
        .collect())
}
