//! interceptor as an admin has it: a release of helm, and its pods.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use testbed::{Metrics, wait_until};

use crate::{Cluster, LONG_TIMEOUT, TIMEOUT};

const NAMESPACE: &str = "interceptor-system";
const RELEASE: &str = "interceptor";
const PODS: &str = "app.kubernetes.io/name=interceptor,app.kubernetes.io/instance=interceptor";

/// The release.
#[derive(Clone, Debug)]
pub struct Product {
    cluster: Cluster,
}

impl Product {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone() }
    }

    /// `helm install`, or `helm upgrade` to these values; returns when the daemons are ready. Nothing happens if it is
    /// installed with just these values.
    pub fn install(&self, values: &[&str]) -> Result<()> {
        let values =
            [&["image.repository=localhost/interceptor", "image.pullPolicy=Never"], values]
                .concat();
        let note = format!("e2e: {}", values.join(" "));
        if self.is_installed_as(&note) && self.daemons().is_ok() {
            return Ok(());
        }
        let chart = chart();
        let chart = chart.to_str().context("a path that is not UTF-8")?;
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

    /// `helm rollback` to the revision before.
    pub fn rollback(&self) -> Result<()> {
        let words = ["rollback", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout=90s"];
        self.cluster.helm(&words).map(drop).with_context(|| self.explain(NAMESPACE))
    }

    /// `helm uninstall`; returns when the last of its pods is gone.
    pub fn uninstall(&self) -> Result<()> {
        let words =
            ["uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait"];
        self.cluster.helm(&words)?;
        wait_until("the last pod of the product to go", LONG_TIMEOUT, || {
            let pods = self.pods()?;
            ensure!(pods.is_empty(), "{} pods", pods.len());
            Ok(())
        })
    }

    /// `helm test`.
    pub fn test(&self) -> Result<String> {
        self.cluster.helm(&["test", RELEASE, "--namespace", NAMESPACE, "--timeout=90s", "--logs"])
    }

    /// What helm keeps of it.
    pub fn manifest(&self) -> Result<String> {
        self.cluster.helm(&["get", "manifest", RELEASE, "--namespace", NAMESPACE])
    }

    /// Its daemons, one per node, once all of them are ready.
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

    /// For failures: what its pods say about a namespace.
    pub fn explain(&self, namespace: &str) -> String {
        let say = |words: &[&str]| {
            self.cluster.kubectl(words).unwrap_or_else(|error| format!("{error:#}\n"))
        };
        let pods = say(&["get", "pods", "--namespace", NAMESPACE, "--output=wide"]);
        let logs = say(&["logs", "--namespace", NAMESPACE, "--selector", PODS, "--tail=500"]);
        let about = |line: &&str| line.contains(namespace) || !line.contains("workload=");
        let logs = logs.lines().filter(about).collect::<Vec<_>>();
        let last = logs[logs.len().saturating_sub(40)..].join("\n");
        format!("the product's pods:\n{pods}their logs:\n{last}")
    }

    fn is_installed_as(&self, note: &str) -> bool {
        let history = ["history", RELEASE, "--namespace", NAMESPACE, "--output=json"];
        // Without a release it fails.
        let Ok(told) = self.cluster.helm(&history) else { return false };
        let history: Value = serde_json::from_str(&told).unwrap_or_default();
        let last = history.as_array().and_then(|all| all.last());
        last.is_some_and(|last| last["status"] == "deployed" && last["description"] == note)
    }

    fn pods(&self) -> Result<Vec<Value>> {
        let pods = self.cluster.get(&["pods", "--namespace", NAMESPACE, "--selector", PODS])?;
        Ok(pods["items"].as_array().cloned().unwrap_or_default())
    }

    /// A pod of the DaemonSet that is ready, and not on its way out.
    fn daemon(&self, pod: &Value) -> Option<Daemon> {
        let conditions = pod.pointer("/status/conditions")?.as_array()?;
        let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
        if !ready || !pod["metadata"]["deletionTimestamp"].is_null() {
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
    /// Its pod's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its pod's identity.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Its node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Its process, as the machine sees it.
    pub fn pid(&self) -> Result<Pid> {
        // The control group of a pod has its uid in its name.
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

    /// SIGKILL: it has no chance to put anything in order.
    pub fn kill(&self) -> Result<()> {
        kill(self.pid()?, Signal::SIGKILL).with_context(|| format!("kill {}", self.name))
    }

    /// Waits until nothing of a process is left that was killed: its files are closed when the last of its threads has
    /// ended, which need not be the first one.
    pub fn wait_ended(&self, pid: Pid) -> Result<()> {
        wait_until(&format!("the end of the process of {}", self.name), TIMEOUT, || {
            let process = PathBuf::from(format!("/proc/{pid}"));
            let threads = process.join("task").read_dir().map_or(0, Iterator::count);
            // The state comes after the name, which may contain anything. Files are closed before it is that of the dead.
            let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
            ensure!(
                threads <= 1 && matches!(state, None | Some('Z' | 'X')),
                "{threads} threads are left, state {state:?}"
            );
            Ok(())
        })
    }

    /// `kubectl delete pod`; does not wait until it is gone.
    pub fn delete(&self) -> Result<()> {
        self.cluster
            .kubectl(&["delete", "pod", "--namespace", NAMESPACE, &self.name, "--wait=false"])
            .map(drop)
    }

    /// Waits until another process of the same pod is ready.
    pub fn wait_restarted(&self, before: Pid) -> Result<()> {
        wait_until(&format!("another process of {}", self.name), LONG_TIMEOUT, || {
            let now = self.pid()?;
            ensure!(now != before, "still {before}");
            self.get("/readyz").map(drop)
        })
    }

    /// `GET` of its metrics port.
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
        String::from_utf8(output.stdout).context("read the answer")
    }

    /// Where Prometheus finds it.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics
    }

    /// What it counts.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(&self.get("/metrics")?)
    }

    /// The memory that it has resident, in KiB.
    pub fn rss_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))
            .context("read its status")?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        line.trim().trim_end_matches(" kB").parse().context("read VmRSS")
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

    /// A token as the one that is mounted into the pod: bound to it.
    pub fn token(&self) -> Result<String> {
        let pod = self.cluster.get(&["pod", "--namespace", NAMESPACE, &self.name])?;
        let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
        let words =
            ["create", "token", account, "--namespace", NAMESPACE, "--bound-object-kind=Pod"];
        let to = ["--bound-object-name", &self.name, "--bound-object-uid", &self.uid];
        Ok(self.cluster.kubectl(&[&words[..], &to[..]].concat())?.trim().to_owned())
    }

    /// A token of its account that is bound to nothing.
    pub fn loose_token(&self) -> Result<String> {
        let pod = self.cluster.get(&["pod", "--namespace", NAMESPACE, &self.name])?;
        let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
        Ok(self
            .cluster
            .kubectl(&["create", "token", account, "--namespace", NAMESPACE])?
            .trim()
            .to_owned())
    }

    /// Waits until a number of its metrics is as wanted.
    pub fn wait_metric(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        wanted: impl Fn(f64) -> bool,
    ) -> Result<f64> {
        self.wait_metric_for(TIMEOUT, name, labels, wanted)
    }

    /// As [`wait_metric`](Self::wait_metric), with a patience of your own.
    pub fn wait_metric_for(
        &self,
        patience: Duration,
        name: &str,
        labels: &[(&str, &str)],
        wanted: impl Fn(f64) -> bool,
    ) -> Result<f64> {
        wait_until(&format!("{name}{labels:?}"), patience, || {
            let value = self.metrics()?.sum(name, labels);
            ensure!(wanted(value), "{value}");
            Ok(value)
        })
    }
}
