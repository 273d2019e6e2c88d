//! The daemon of one node: its process, its metrics and its log.

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
use testbed::{Metrics, Sample, wait_until};

use crate::{Cluster, LONG_TIMEOUT, Pod, TIMEOUT, pod::is_ready};

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
    namespace: &'static str,
    name: String,
    uid: String,
    node: String,
    metrics: SocketAddr,
}

impl Daemon {
    /// The daemon of a pod that is ready and not being deleted.
    pub(crate) fn of(cluster: &Cluster, namespace: &'static str, pod: &Value) -> Option<Self> {
        if !is_ready(pod) || !pod["metadata"]["deletionTimestamp"].is_null() {
            return None;
        }
        let ports = pod.pointer("/spec/containers/0/ports")?.as_array()?;
        let port =
            ports.iter().find(|port| port["name"] == "metrics")?["containerPort"].as_u64()?;
        Some(Self {
            cluster: cluster.clone(),
            namespace,
            name: pod["metadata"]["name"].as_str()?.to_owned(),
            uid: pod["metadata"]["uid"].as_str()?.to_owned(),
            node: pod["spec"]["nodeName"].as_str()?.to_owned(),
            metrics: SocketAddr::new(
                pod["status"]["hostIP"].as_str()?.parse::<IpAddr>().ok()?,
                port.try_into().ok()?,
            ),
        })
    }

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
            .kubectl(&["delete", "pod", "--namespace", self.namespace, &self.name, "--wait=false"])
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

    /// The connections to a pod's redirected ports, without probes by HTTP.
    pub fn connections_to(&self, pod: &Pod) -> Result<f64> {
        let metrics = self.metrics()?;
        let of_pod = [("namespace", pod.namespace()), ("pod", pod.name())];
        let samples = metrics.matching("interceptor_connections_total", &of_pod);
        let is_probe = |sample: &&Sample| {
            sample.labels.get("reason").is_some_and(|reason| reason == "health_check")
        };
        Ok(samples.filter(|sample| !is_probe(sample)).map(|sample| sample.value).sum())
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
        self.cluster.kubectl(&["logs", "--namespace", self.namespace, &self.name])
    }

    /// `kubectl exec` of the daemon's own command.
    pub fn exec(&self, words: &[&str]) -> Result<String> {
        self.cluster.kubectl(
            &[&["exec", "--namespace", self.namespace, &self.name, "--", "/interceptor"], words]
                .concat(),
        )
    }

    /// A token that is bound to the pod, as the one that is mounted into it.
    pub fn token(&self) -> Result<String> {
        let pod = self.cluster.get(&["pod", "--namespace", self.namespace, &self.name])?;
        let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
        let words =
            ["create", "token", account, "--namespace", self.namespace, "--bound-object-kind=Pod"];
        let to = ["--bound-object-name", &self.name, "--bound-object-uid", &self.uid];
        Ok(self.cluster.kubectl(&[&words[..], &to[..]].concat())?.trim().to_owned())
    }

    /// A token of the same account that is not bound to a pod.
    pub fn loose_token(&self) -> Result<String> {
        let pod = self.cluster.get(&["pod", "--namespace", self.namespace, &self.name])?;
        let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
        Ok(self
            .cluster
            .kubectl(&["create", "token", account, "--namespace", self.namespace])?
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
