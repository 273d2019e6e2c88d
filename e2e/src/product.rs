//! The product as an admin installs it: a helm release, and its pods.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use testbed::{Metrics, wait_until};

use crate::{Cluster, LONG_TIMEOUT, TIMEOUT, pod::is_ready};

const NAMESPACE: &str = "interceptor-system";
const RELEASE: &str = "interceptor";
const PODS: &str = "app.kubernetes.io/name=interceptor,app.kubernetes.io/instance=interceptor";

/// The helm release.
#[derive(Clone, Debug)]
pub struct Product {
    cluster: Cluster,
}

impl Product {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone() }
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
            RELEASE,
            chart,
            "--install",
            "--namespace",
            NAMESPACE,
            "--create-namespace",
        ];
        words.extend(["--wait", "--timeout=90s", "--description", &note]);
        words.extend(values.iter().flat_map(|value| ["--set", value]));
        self.cluster.helm(&words).with_context(|| self.explain(NAMESPACE))?;
        self.daemons().map(drop)
    }

    /// `helm rollback` to the previous revision.
    pub fn rollback(&self) -> Result<()> {
        let words = ["rollback", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout=90s"];
        self.cluster.helm(&words).map(drop).with_context(|| self.explain(NAMESPACE))
    }

    /// `helm uninstall`. Returns when the last pod of the product is gone.
    pub fn uninstall(&self) -> Result<()> {
        let words =
            ["uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait"];
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
        self.cluster.helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--no-hooks"])?;
        self.wait_gone()
    }

    /// `helm test`.
    pub fn test(&self) -> Result<String> {
        self.cluster.helm(&["test", RELEASE, "--namespace", NAMESPACE, "--timeout=90s", "--logs"])
    }

    /// The manifest that helm has of the release.
    pub fn manifest(&self) -> Result<String> {
        self.cluster.helm(&["get", "manifest", RELEASE, "--namespace", NAMESPACE])
    }

    /// The daemons, one per node, once all of them are ready.
    pub fn daemons(&self) -> Result<Vec<Daemon>> {
        let nodes = self.cluster.nodes()?;
        wait_until("a ready daemon on every node", LONG_TIMEOUT, || {
            let daemons =
                self.pods()?.iter().filter_map(|pod| self.daemon(pod)).collect::<Vec<_>>();
            let on = daemons.iter().map(|daemon| daemon.node.as_str()).collect::<Vec<_>>();
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
        daemons.into_iter().find(|daemon| daemon.node == "node1").context("no daemon on node1")
    }

    /// Waits until another pod than `daemon` is ready on `node1`.
    pub fn wait_successor(&self, daemon: &Daemon) -> Result<()> {
        wait_until(&format!("a successor of {}", daemon.name), LONG_TIMEOUT, || {
            let now = self.first_daemon()?;
            ensure!(now.uid != daemon.uid, "{} is still there", daemon.name);
            Ok(())
        })
    }

    /// For failures: the product's pods, and the lines of their logs about a namespace.
    pub fn explain(&self, namespace: &str) -> String {
        let output = |words: &[&str]| {
            self.cluster.kubectl(words).unwrap_or_else(|error| format!("{error:#}\n"))
        };
        let pods = output(&["get", "pods", "--namespace", NAMESPACE, "--output=wide"]);
        let logs = output(&["logs", "--namespace", NAMESPACE, "--selector", PODS, "--tail=500"]);
        let about = |line: &&str| line.contains(namespace) || !line.contains("workload=");
        let logs = logs.lines().filter(about).collect::<Vec<_>>();
        let last = logs[logs.len().saturating_sub(40)..].join("\n");
        format!("the product's pods:\n{pods}their logs:\n{last}")
    }

    fn is_installed_as(&self, note: &str) -> bool {
        let history = ["history", RELEASE, "--namespace", NAMESPACE, "--output=json"];
        // helm fails if there is no release.
        let Ok(history) = self.cluster.helm(&history) else { return false };
        let history: Value = serde_json::from_str(&history).unwrap_or_default();
        let last = history.as_array().and_then(|all| all.last());
        last.is_some_and(|last| last["status"] == "deployed" && last["description"] == note)
    }

    fn pods(&self) -> Result<Vec<Value>> {
        let pods = self.cluster.get(&["pods", "--namespace", NAMESPACE, "--selector", PODS])?;
        Ok(pods["items"].as_array().cloned().unwrap_or_default())
    }

    /// The daemon of a pod that is ready and not being deleted.
    fn daemon(&self, pod: &Value) -> Option<Daemon> {
        if !is_ready(pod) || !pod["metadata"]["deletionTimestamp"].is_null() {
            return None;
        }
        let ports = pod.pointer("/spec/containers/0/ports")?.as_array()?;
        let port =
            ports.iter().find(|port| port["name"] == "metrics")?["containerPort"].as_u64()?;
        Some(Daemon {
            cluster: self.cluster.clone(),
            name: pod["metadata"]["name"].as_str()?.to_owned(),
            uid: pod["metadata"]["uid"].as_str()?.to_owned(),
            node: pod["spec"]["nodeName"].as_str()?.to_owned(),
            metrics: SocketAddr::new(
                pod["status"]["hostIP"].as_str()?.parse::<IpAddr>().ok()?,
                port.try_into().ok()?,
            ),
        })
    }
}

/// The chart in this repository.
fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/charts/interceptor")
}

/// A daemon's process that was killed.
#[derive(Clone, Copy, Debug)]
pub struct Killed {
    /// The process id.
    pub pid: Pid,
    /// The time just before SIGKILL was sent.
    pub killed: Instant,
    /// The time when the process had ended.
    pub dead: Instant,
}

/// The daemon of one node.
#[derive(Clone, Debug)]
pub struct Daemon {
    cluster: Cluster,
    name: String,
    uid: String,
    node: String,
    metrics: SocketAddr,
}

impl Daemon {
    /// The name of its pod.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The uid of its pod.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The node on which it runs.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The id of its process on this machine.
    pub fn pid(&self) -> Result<Pid> {
        // The name of a pod's cgroup contains the pod's uid.
        for process in Path::new("/proc").read_dir().context("list /proc")?.flatten() {
            let read =
                |file: &str| fs::read_to_string(process.path().join(file)).unwrap_or_default();
            if read("comm").trim() == "interceptor"
                && read("cgroup").contains(&format!("pod{}", self.uid))
            {
                let name = process.file_name();
                return Ok(Pid::from_raw(name.to_string_lossy().parse().context("a process id")?));
            }
        }
        anyhow::bail!("{} has no process", self.name)
    }

    /// Sends SIGKILL.
    pub fn kill(&self) -> Result<()> {
        kill(self.pid()?, Signal::SIGKILL).with_context(|| format!("kill {}", self.name))
    }

    /// Sends SIGKILL, and waits until the process has ended.
    pub fn kill_and_wait(&self) -> Result<Killed> {
        let (pid, killed) = (self.pid()?, Instant::now());
        self.kill()?;
        self.wait_ended(pid)?;
        Ok(Killed { pid, killed, dead: Instant::now() })
    }

    /// Waits until a killed process has ended. The kernel closes its files with the last thread,
    /// which need not be the main thread.
    fn wait_ended(&self, pid: Pid) -> Result<()> {
        wait_until(&format!("the end of the process of {}", self.name), TIMEOUT, || {
            let process = PathBuf::from(format!("/proc/{pid}"));
            let threads = process.join("task").read_dir().map_or(0, Iterator::count);
            // The state follows the name, which may contain anything. Files are closed before the
            // state is Z or X.
            let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
            ensure!(
                threads <= 1 && matches!(state, None | Some('Z' | 'X')),
                "{threads} threads are left, state {state:?}"
            );
            Ok(())
        })
    }

    /// `kubectl delete pod`, without waiting until the pod is gone.
    pub fn delete(&self) -> Result<()> {
        self.cluster
            .kubectl(&["delete", "pod", "--namespace", NAMESPACE, &self.name, "--wait=false"])
            .map(drop)
    }

    /// Waits until the pod has another process, and that is ready.
    pub fn wait_restarted(&self, before: Pid) -> Result<()> {
        wait_until(&format!("another process of {}", self.name), LONG_TIMEOUT, || {
            let now = self.pid()?;
            ensure!(now != before, "still {before}");
            self.get("/readyz").map(drop)
        })
    }

    /// `GET` of a path of its metrics port.
    pub fn get(&self, path: &str) -> Result<String> {
        let url = format!("http://{}{path}", self.metrics);
        let curl = std::process::Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--max-time", "5", &url])
            .output();
        let output = curl.with_context(|| format!("get {url}"))?;
        ensure!(
            output.status.success(),
            "{url}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        String::from_utf8(output.stdout).context("the response is not UTF-8")
    }

    /// The address that Prometheus scrapes.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics
    }

    /// Its metrics.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(&self.get("/metrics")?)
    }

    /// Its resident memory, in KiB.
    pub fn rss_kib(&self) -> Result<u64> {
        testbed::rss_kib(self.pid()?.as_raw().cast_unsigned())
    }

    /// `kubectl logs`.
    pub fn logs(&self) -> Result<String> {
        self.cluster.kubectl(&["logs", "--namespace", NAMESPACE, &self.name])
    }

    /// `kubectl exec` of the daemon's own command.
    pub fn exec(&self, words: &[&str]) -> Result<String> {
        self.cluster.kubectl(
            &[&["exec", "--namespace", NAMESPACE, &self.name, "--", "/interceptor"], words]
                .concat(),
        )
    }

    /// A token that is bound to the pod, as the one that is mounted into it.
    pub fn token(&self) -> Result<String> {
        let pod = self.cluster.get(&["pod", "--namespace", NAMESPACE, &self.name])?;
        let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
        let words =
            ["create", "token", account, "--namespace", NAMESPACE, "--bound-object-kind=Pod"];
        let to = ["--bound-object-name", &self.name, "--bound-object-uid", &self.uid];
        Ok(self.cluster.kubectl(&[&words[..], &to[..]].concat())?.trim().to_owned())
    }

    /// A token of the same account that is not bound to a pod.
    pub fn loose_token(&self) -> Result<String> {
        let pod = self.cluster.get(&["pod", "--namespace", NAMESPACE, &self.name])?;
        let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
        Ok(self
            .cluster
            .kubectl(&["create", "token", account, "--namespace", NAMESPACE])?
            .trim()
            .to_owned())
    }

    /// Waits until `wanted` accepts a number of its metrics, and returns it.
    pub fn wait_metric(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        wanted: impl Fn(f64) -> bool,
    ) -> Result<f64> {
        self.wait_metric_for(TIMEOUT, name, labels, wanted)
    }

    /// As [`wait_metric`](Self::wait_metric), with another timeout.
    pub fn wait_metric_for(
        &self,
        timeout: Duration,
        name: &str,
        labels: &[(&str, &str)],
        wanted: impl Fn(f64) -> bool,
    ) -> Result<f64> {
        wait_until(&format!("{name}{labels:?}"), timeout, || {
            let value = self.metrics()?.sum(name, labels);
            ensure!(wanted(value), "{value}");
            Ok(value)
        })
    }
}
