//! A pod: its annotations, and its status as kubectl shows it.

use std::{
    collections::BTreeMap,
    fmt, fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};
use interceptor_api::{Action, AnnotationKey, ConditionType};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use testbed::{Answer, Protocol, wait_until};

use crate::{Cluster, TIMEOUT, on_laptop};

/// A pod with an address.
#[derive(Clone, Debug)]
pub struct Pod {
    cluster: Cluster,
    namespace: String,
    name: String,
    uid: String,
    node: String,
    ips: Vec<IpAddr>,
    port: u16,
}

/// A condition of a pod, as kubectl shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word for programs.
    pub reason: String,
    /// A sentence for users.
    pub message: String,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.reason, self.message)
    }
}

/// Everything of a pod that must be the same before, during and after a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSnapshot {
    uid: String,
    restarts: Vec<u64>,
    containers: Value,
    labels: Value,
    foreign_annotations: BTreeMap<String, String>,
    foreign_conditions: Vec<String>,
}

impl Pod {
    pub(crate) fn new(cluster: &Cluster, object: &Value) -> Result<Self> {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        let name = text("/metadata/name").context("a pod without a name")?;
        let ips = object.pointer("/status/podIPs").and_then(Value::as_array).into_iter().flatten();
        let port = object.pointer("/spec/containers/0/args/0").and_then(Value::as_str);
        Ok(Self {
            cluster: cluster.clone(),
            namespace: text("/metadata/namespace").context("a pod without a namespace")?.to_owned(),
            name: name.to_owned(),
            uid: text("/metadata/uid").context("a pod without a uid")?.to_owned(),
            node: text("/spec/nodeName").unwrap_or_default().to_owned(),
            ips: ips.filter_map(|ip| ip["ip"].as_str()?.parse().ok()).collect(),
            port: port.and_then(|port| port.parse().ok()).unwrap_or(8080),
        })
    }

    /// The name, with which its app answers.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The uid, which differs between pods of the same name.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The node on which it runs.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The pod's primary address, with the first port of the app.
    ///
    /// # Panics
    /// If the pod has no address.
    pub fn address(&self) -> SocketAddr {
        let addresses = self.addresses();
        *addresses.first().unwrap_or_else(|| panic!("{} has no address", self.name))
    }

    /// The pod's addresses of all families, the primary one first, with the first port of the app.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.ips.iter().map(|ip| SocketAddr::new(*ip, self.port)).collect()
    }

    /// Kills the process that holds the pod's sandbox. The kubelet then creates another sandbox,
    /// with other addresses.
    pub fn kill_sandbox(&self) -> Result<()> {
        let address = self.address().ip().to_string();
        let holds_sandbox = |process: &Path| {
            let read = |file: &str| fs::read_to_string(process.join(file)).unwrap_or_default();
            read("cmdline").split('\0').any(|word| word == "pause")
                && read("net/fib_trie").split_whitespace().any(|word| word == address)
        };
        let processes =
            fs::read_dir("/proc").context("list processes")?.flatten().map(|entry| entry.path());
        let found = processes.filter(|process| holds_sandbox(process)).collect::<Vec<_>>();
        let [pause] = &found[..] else {
            bail!("expected one process that holds {address}, found {found:?}")
        };
        let pid = pause
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok())
            .context("the process id")?;
        kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("kill process {pid}"))
    }

    /// `kubectl annotate`.
    pub fn annotate(&self, key: &str, value: &str) -> Result<()> {
        self.kubectl("annotate", &["--overwrite", &format!("{key}={value}")]).map(drop)
    }

    /// `kubectl annotate`, to remove an annotation.
    pub fn unannotate(&self, key: &str) -> Result<()> {
        self.kubectl("annotate", &[&format!("{key}-")]).map(drop)
    }

    /// `kubectl wait` until the pod's redirects are active.
    pub fn wait_active(&self) -> Result<()> {
        self.wait_for(&format!("condition={}", active_type()))
    }

    /// `kubectl wait --for=…`. Its error has the pod's conditions.
    pub fn wait_for(&self, what: &str) -> Result<()> {
        let timeout = format!("--timeout={}s", TIMEOUT.as_secs());
        self.kubectl("wait", &[&format!("--for={what}"), &timeout])
            .map(drop)
            .with_context(|| format!("{}: {:?}", self.name, self.conditions().unwrap_or_default()))
    }

    /// The condition of the pod's redirects, if there is one.
    pub fn active(&self) -> Result<Option<Condition>> {
        Ok(self.conditions()?.remove(active_type().as_str()))
    }

    /// Waits until the condition of the pod's redirects is `False` for this reason.
    pub fn wait_refused(&self, reason: &str) -> Result<Condition> {
        wait_until(&format!("{}: {} False {reason}", self.name, active_type()), TIMEOUT, || {
            let condition = self.active()?.context("no condition")?;
            ensure!(condition.status == "False" && condition.reason == reason, "{condition}");
            Ok(condition)
        })
    }

    /// Waits until the pod's status has no condition of the product.
    pub fn wait_untouched(&self) -> Result<()> {
        wait_until(&format!("{} without conditions of the product", self.name), TIMEOUT, || {
            let conditions = self.conditions()?;
            let ours =
                conditions.keys().filter(|type_| ConditionType::is_ours(type_)).collect::<Vec<_>>();
            ensure!(ours.is_empty(), "{ours:?}");
            Ok(())
        })
    }

    /// All conditions of the pod, by type.
    pub fn conditions(&self) -> Result<BTreeMap<String, Condition>> {
        let pod = self.get()?;
        let conditions = pod
            .pointer("/status/conditions")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let conditions = conditions.iter().map(|condition| {
            let word = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
            (
                word("type"),
                Condition {
                    status: word("status"),
                    reason: word("reason"),
                    message: word("message"),
                },
            )
        });
        Ok(conditions.collect())
    }

    /// Waits for an Event of the product about the pod, with this reason.
    pub fn wait_event(&self, reason: &str) -> Result<Value> {
        wait_until(&format!("an Event {reason} on {}", self.name), TIMEOUT, || {
            let events = self.events()?;
            let words = events
                .iter()
                .map(|event| event["reason"].to_string())
                .collect::<Vec<_>>()
                .join(", ");
            let found = events.into_iter().find(|event| event["reason"] == reason);
            found.with_context(|| format!("only {words}"))
        })
    }

    /// All Events of the product about the pod.
    pub fn events(&self) -> Result<Vec<Value>> {
        let about = format!("--field-selector=regarding.uid={}", self.uid);
        let events = self.cluster.get(&[
            "events.v1.events.k8s.io",
            "--namespace",
            &self.namespace,
            &about,
        ])?;
        let all = events["items"].as_array().cloned().unwrap_or_default();
        Ok(all.into_iter().filter(|event| event["reportingController"] == "interceptor").collect())
    }

    /// The parts of the pod that the product must not change.
    pub fn snapshot(&self) -> Result<PodSnapshot> {
        let pod = self.get()?;
        let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array).cloned();
        let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object).cloned();
        let foreign = annotations
            .unwrap_or_default()
            .into_iter()
            .filter(|(key, _)| AnnotationKey::new(key).is_none());
        let conditions = self.conditions()?;
        Ok(PodSnapshot {
            uid: pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
            restarts: statuses
                .unwrap_or_default()
                .iter()
                .filter_map(|one| one["restartCount"].as_u64())
                .collect(),
            containers: pod["spec"]["containers"].clone(),
            labels: pod["metadata"]["labels"].clone(),
            foreign_annotations: foreign.map(|(key, value)| (key, value.to_string())).collect(),
            foreign_conditions: conditions
                .iter()
                .filter(|(type_, _)| !ConditionType::is_ours(type_))
                .map(|(type_, condition)| format!("{type_} {condition}"))
                .collect(),
        })
    }

    /// Whether kubelet reports the pod as ready.
    pub fn is_ready(&self) -> Result<bool> {
        Ok(is_ready(&self.get()?))
    }

    /// The number of restarts of its containers.
    pub fn restarts(&self) -> Result<u64> {
        Ok(self.snapshot()?.restarts.iter().sum())
    }

    /// The answer to a call from the laptop.
    pub fn ask(&self) -> Result<Answer> {
        ask(self.address())
    }

    /// The name of the server that answers a call from the laptop.
    pub fn served_by(&self) -> Result<String> {
        Ok(self.ask()?.tag)
    }

    /// Waits until the server `tag` answers.
    pub fn wait_for_answer(&self, tag: &str) -> Result<()> {
        wait_until(&format!("an answer by {tag:?}"), TIMEOUT, || {
            let answer = self.ask()?;
            ensure!(answer.tag == tag, "{} answered", answer.tag);
            Ok(())
        })
    }

    /// `kubectl VERB pod NAME …`.
    pub fn kubectl(&self, verb: &str, words: &[&str]) -> Result<String> {
        let pod = format!("pod/{}", self.name);
        self.cluster.kubectl(&[&[verb, "--namespace", &self.namespace, &pod], words].concat())
    }

    /// The output of a command inside of the pod.
    pub fn exec(&self, command: &[&str]) -> Result<String> {
        let words = ["exec", "--namespace", &self.namespace, &self.name, "--"];
        self.cluster.kubectl(&[&words, command].concat())
    }

    /// The output of a command inside of one of the pod's containers.
    pub fn exec_in(&self, container: &str, command: &[&str]) -> Result<String> {
        let words = ["exec", "--namespace", &self.namespace, &self.name, "--container", container];
        self.cluster.kubectl(&[&words[..], &["--"], command].concat())
    }

    /// The pod's object in the API.
    pub fn get(&self) -> Result<Value> {
        self.cluster.get(&["--namespace", &self.namespace, "pod", &self.name])
    }

    /// The pod's namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

/// One call from the laptop.
pub(crate) fn ask(to: SocketAddr) -> Result<Answer> {
    let answer = on_laptop(|| {
        testbed::Connection::open_here(to, Protocol::Http).and_then(|mut to| to.ask())
    });
    answer.with_context(|| format!("call {to}"))
}

/// Whether the pod of the API has the condition `Ready`.
pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// The type of the condition that sums up all redirects of a pod.
fn active_type() -> ConditionType {
    ConditionType::summary(Action::Redirect)
}
