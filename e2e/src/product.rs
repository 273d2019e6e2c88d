//! The product as an admin installs it: a helm release.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::wait_until;

use crate::{Cluster, Daemon, LONG_TIMEOUT};

/// A helm release.
#[derive(Clone, Debug)]
pub struct Product {
    cluster: Cluster,
    release: &'static str,
    namespace: &'static str,
}

impl Product {
    /// The release that all tests share.
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone(), release: "interceptor", namespace: "interceptor-system" }
    }

    /// `helm install`, or `helm upgrade` to these values. Returns when the daemons are ready. Does
    /// nothing if the release is installed with the same values already.
    pub fn install(&self, values: &[&str]) -> Result<()> {
        let values =
            [&["image.repository=localhost/interceptor", "image.pullPolicy=Never"], values]
                .concat();
        let note = format!("e2e: {}", values.join(" "));
        if self.is_installed_as(&note) && self.daemons().is_ok() {
            return Ok(());
        }
        let chart = chart();
        let chart = chart.to_str().context("the path of the chart is not UTF-8")?;
        let mut words = vec![
            "upgrade",
            self.release,
            chart,
            "--install",
            "--namespace",
            self.namespace,
            "--create-namespace",
        ];
        words.extend(["--wait", "--timeout=90s", "--description", &note]);
        words.extend(values.iter().flat_map(|value| ["--set", value]));
        self.cluster.helm(&words).with_context(|| self.explain(self.namespace))?;
        self.daemons().map(drop)
    }

    /// `helm rollback` to the previous revision.
    pub fn rollback(&self) -> Result<()> {
        let words =
            ["rollback", self.release, "--namespace", self.namespace, "--wait", "--timeout=90s"];
        self.cluster.helm(&words).map(drop).with_context(|| self.explain(self.namespace))
    }

    /// `helm uninstall`. Returns when the last pod of the product is gone.
    pub fn uninstall(&self) -> Result<()> {
        let words = [
            "uninstall",
            self.release,
            "--namespace",
            self.namespace,
            "--ignore-not-found",
            "--wait",
        ];
        self.cluster.helm(&words)?;
        self.wait_gone()
    }

    fn wait_gone(&self) -> Result<()> {
        wait_until("the end of the product's pods", LONG_TIMEOUT, || {
            let pods = self.pods()?;
            ensure!(pods.is_empty(), "{} pods", pods.len());
            Ok(())
        })
    }

    /// `helm uninstall --no-hooks`. Returns when the last pod of the product is gone.
    pub fn uninstall_without_hooks(&self) -> Result<()> {
        self.cluster.helm(&[
            "uninstall",
            self.release,
            "--namespace",
            self.namespace,
            "--no-hooks",
        ])?;
        self.wait_gone()
    }

    /// `helm test`.
    pub fn test(&self) -> Result<String> {
        self.cluster.helm(&[
            "test",
            self.release,
            "--namespace",
            self.namespace,
            "--timeout=90s",
            "--logs",
        ])
    }

    /// The manifest that helm has of the release.
    pub fn manifest(&self) -> Result<String> {
        self.cluster.helm(&["get", "manifest", self.release, "--namespace", self.namespace])
    }

    /// The daemons, one per node, once all of them are ready.
    pub fn daemons(&self) -> Result<Vec<Daemon>> {
        let nodes = self.cluster.nodes()?;
        wait_until("a ready daemon on every node", LONG_TIMEOUT, || {
            let daemons = self
                .pods()?
                .iter()
                .filter_map(|pod| Daemon::of(&self.cluster, self.namespace, pod))
                .collect::<Vec<_>>();
            let on = daemons.iter().map(Daemon::node).collect::<Vec<_>>();
            ensure!(
                on.len() == nodes.len() && nodes.iter().all(|node| on.contains(&node.as_str())),
                "only on {on:?}"
            );
            Ok(daemons)
        })
    }

    /// The daemon of `node1`, once it is ready.
    pub fn first_daemon(&self) -> Result<Daemon> {
        let daemons = self.daemons()?;
        daemons.into_iter().find(|daemon| daemon.node() == "node1").context("no daemon on node1")
    }

    /// Waits until another pod than `daemon` is ready on `node1`.
    pub fn wait_successor(&self, daemon: &Daemon) -> Result<()> {
        wait_until(&format!("a successor of {}", daemon.name()), LONG_TIMEOUT, || {
            let now = self.first_daemon()?;
            ensure!(now.uid() != daemon.uid(), "{} is still there", daemon.name());
            Ok(())
        })
    }

    /// For failures: the product's pods, and the lines of their logs about a namespace.
    pub fn explain(&self, namespace: &str) -> String {
        let output = |words: &[&str]| {
            self.cluster.kubectl(words).unwrap_or_else(|error| format!("{error:#}\n"))
        };
        let pods = output(&["get", "pods", "--namespace", self.namespace, "--output=wide"]);
        let logs = output(&[
            "logs",
            "--namespace",
            self.namespace,
            "--selector",
            &self.selector(),
            "--tail=500",
        ]);
        let about = |line: &&str| line.contains(namespace) || !line.contains("workload=");
        let logs = logs.lines().filter(about).collect::<Vec<_>>();
        let last = logs[logs.len().saturating_sub(40)..].join("\n");
        format!("the product's pods:\n{pods}their logs:\n{last}")
    }

    /// Selects the pods of the release.
    fn selector(&self) -> String {
        format!("app.kubernetes.io/name=interceptor,app.kubernetes.io/instance={}", self.release)
    }

    fn is_installed_as(&self, note: &str) -> bool {
        let history = ["history", self.release, "--namespace", self.namespace, "--output=json"];
        // helm fails if there is no release.
        let Ok(history) = self.cluster.helm(&history) else { return false };
        let history: Value = serde_json::from_str(&history).unwrap_or_default();
        let last = history.as_array().and_then(|all| all.last());
        last.is_some_and(|last| last["status"] == "deployed" && last["description"] == note)
    }

    fn pods(&self) -> Result<Vec<Value>> {
        let pods = self.cluster.get(&[
            "pods",
            "--namespace",
            self.namespace,
            "--selector",
            &self.selector(),
        ])?;
        Ok(pods["items"].as_array().cloned().unwrap_or_default())
    }
}

/// The chart in this repository.
fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/charts/interceptor")
}

/// Another release of the product, on the same nodes. Dropping it removes it.
#[derive(Debug)]
pub struct AnotherRelease(Product);

impl AnotherRelease {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let (release, namespace) = ("another", "another-interceptor");
        Self(Product { cluster: cluster.clone(), release, namespace })
    }

    /// `helm install`, with ports that the first release does not have.
    pub fn install(&self) -> Result<()> {
        self.0.install(&["admin.port=9479", "metrics.port=9479"])
    }

    /// `helm uninstall`. Returns when the last pod of the release is gone.
    pub fn uninstall(&self) -> Result<()> {
        self.0.uninstall()
    }

    /// The daemons, one per node, once all of them are ready.
    pub fn daemons(&self) -> Result<Vec<Daemon>> {
        self.0.daemons()
    }

    /// The names of all objects of the release that the cluster has.
    pub fn objects(&self) -> Result<String> {
        let kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,\
                     validatingadmissionpolicybindings,daemonsets,pods,configmaps,serviceaccounts,\
                     roles,rolebindings,jobs,secrets";
        let label = format!("app.kubernetes.io/instance={}", self.0.release);
        let words = ["get", kinds, "--all-namespaces", "--selector", &label, "--output=name"];
        self.0.cluster.kubectl(&words)
    }
}

impl Drop for AnotherRelease {
    fn drop(&mut self) {
        // A failure is not the test's.
        let _ = self.0.uninstall();
        let namespace = ["delete", "namespace", self.0.namespace, "--ignore-not-found"];
        let _ = self.0.cluster.kubectl(&namespace);
    }
}
