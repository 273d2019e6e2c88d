//! `interceptor selftest`: redirects the pod that it runs in, and checks who answers its clients.
//! `helm test` runs it.
//!
//! One process is the app, the target, a client, and the developer who annotates the pod. It needs
//! no capability. In the API it needs the rights of a developer for this one pod.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use interceptor_api::Reason;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};

const APP_PORT: u16 = 8080;
const TARGET_PORT: u16 = 8081;
const APP: &str = "app";
const TARGET: &str = "target";

const ANNOTATION: &str = "debug.redirect/selftest";
const CONDITION: &str = "debug.redirect/Active-selftest";
/// Ends the redirect if this process dies before it removes the annotation.
const TTL: &str = "2m";
/// Number of connections in each phase. The expected server must answer all of them.
const CALLS: usize = 20;
/// Maximum time for one answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two reads of the pod.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Reasons that waiting can't change.
const FINAL: [Reason; 9] = [
    Reason::HostNetwork,
    Reason::LimitExceeded,
    Reason::NoNetns,
    Reason::NoPorts,
    Reason::NotAllowed,
    Reason::NotSupported,
    Reason::PortTaken,
    Reason::RuleInvalid,
    Reason::TargetDenied,
];

/// The pod that this runs in.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The pod's name
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub pod: String,

    /// The pod's namespace
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub namespace: String,

    /// The pod's address
    #[arg(long, value_name = "IP", env = "POD_IP")]
    pub ip: IpAddr,

    /// Maximum time for the redirect to begin, and for it to end
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// Redirects the pod and checks each phase. Prints a line for each one that passed.
///
/// # Errors
/// A phase failed; the error says what was found instead.
pub async fn run(options: &Options) -> Result<()> {
    let client = Client::try_default().await.context("find the API server")?;
    let test = Test { pods: Api::namespaced(client, &options.namespace), options };
    test.serve(APP_PORT, APP).await?;
    test.serve(TARGET_PORT, TARGET).await?;

    test.expect(APP).await.context("before the redirect")?;
    println!("ok  before: the app answers on port {APP_PORT}");

    let rule = format!("{APP_PORT} -> {} ttl {TTL}", SocketAddr::new(options.ip, TARGET_PORT));
    let started = Instant::now();
    test.annotate(Some(&rule)).await?;
    test.wait_until_active().await?;
    println!(
        "ok  {ANNOTATION}: {rule}: {CONDITION} is True after {} ms",
        started.elapsed().as_millis()
    );
    for _ in 0..CALLS {
        test.expect(TARGET).await.context("while the redirect is active")?;
    }
    println!("ok  redirected: the target answers {CALLS} of {CALLS} connections");

    let started = Instant::now();
    test.annotate(None).await?;
    test.wait_until_gone().await?;
    println!(
        "ok  annotation removed: the condition is gone after {} ms",
        started.elapsed().as_millis()
    );
    for _ in 0..CALLS {
        test.expect(APP).await.context("after the redirect")?;
    }
    println!("ok  after: the app answers {CALLS} of {CALLS} connections");
    Ok(())
}

struct Test<'a> {
    pods: Api<Pod>,
    options: &'a Options,
}

// === impl Test ===

impl Test<'_> {
    /// Answers every connection to `port` with `name`.
    async fn serve(&self, port: u16, name: &'static str) -> Result<()> {
        let any = match self.options.ip {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let listener = TcpListener::bind((any, port))
            .await
            .with_context(|| format!("listen on port {port}"))?;
        tokio::spawn(async move {
            // A client whose connection fails reports that itself.
            while let Ok((mut client, _)) = listener.accept().await {
                let _ = client.write_all(name.as_bytes()).await;
            }
        });
        Ok(())
    }

    /// Connects to the app's port. Returns the name of the server that answers.
    async fn call(&self) -> Result<String> {
        let address = SocketAddr::new(self.options.ip, APP_PORT);
        let mut answer = String::new();
        timeout(CALL_TIMEOUT, async {
            TcpStream::connect(address).await?.read_to_string(&mut answer).await
        })
        .await
        .with_context(|| format!("no answer from {address} within {CALL_TIMEOUT:?}"))?
        .with_context(|| format!("connect to {address}"))?;
        Ok(answer)
    }

    async fn expect(&self, name: &str) -> Result<()> {
        let answer = self.call().await?;
        ensure!(answer == name, "`{answer}` answered instead of `{name}`");
        Ok(())
    }

    async fn annotate(&self, rule: Option<&str>) -> Result<()> {
        let patch = json!({ "metadata": { "annotations": { ANNOTATION: rule } } });
        let pod = &self.options.pod;
        self.pods
            .patch(pod, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .with_context(|| format!("annotate the pod {pod}"))?;
        Ok(())
    }

    /// Reads the condition of the redirect, and the node's name for messages.
    async fn look(&self) -> Result<(Option<PodCondition>, String)> {
        let pod = self.pods.get(&self.options.pod).await.context("read the pod")?;
        let node = pod.spec.and_then(|spec| spec.node_name).unwrap_or_default();
        let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
        Ok((conditions.into_iter().find(|condition| condition.type_ == CONDITION), node))
    }

    async fn wait_until_active(&self) -> Result<()> {
        let deadline = Instant::now() + self.options.timeout;
        loop {
            let (condition, node) = self.look().await?;
            let problem = match condition {
                None => anyhow!(
                    "no daemon has reported on the annotation; does the daemon run on node {node}?"
                ),
                Some(condition) if condition.status == "True" => return Ok(()),
                Some(condition) => {
                    let reason = condition.reason.unwrap_or_default();
                    let message = condition.message.unwrap_or_default();
                    if FINAL.iter().any(|last| last.to_string() == reason) {
                        bail!("{CONDITION} is False: {reason}: {message}");
                    }
                    anyhow!("{CONDITION} is still False: {reason}: {message}")
                }
            };
            if Instant::now() >= deadline {
                return Err(problem.context(format!("not active after {:?}", self.options.timeout)));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn wait_until_gone(&self) -> Result<()> {
        let deadline = Instant::now() + self.options.timeout;
        while let (Some(condition), _) = self.look().await? {
            ensure!(
                Instant::now() < deadline,
                "{CONDITION} still exists {:?} after the annotation was removed: {}",
                self.options.timeout,
                condition.message.unwrap_or_default()
            );
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use interceptor_api::{AnnotationKey, ConditionType};
    use serde_json::Value;

    use super::*;
    use crate::kubernetes::fake::{client, not_found};

    /// Longer than any test waits for a condition.
    const LONG: Duration = Duration::from_secs(30);
    /// For tests that wait until the end.
    const SHORT: Duration = Duration::from_secs(3);

    fn options(timeout: Duration) -> Options {
        Options {
            pod: "test".to_owned(),
            namespace: "here".to_owned(),
            ip: Ipv4Addr::LOCALHOST.into(),
            timeout,
        }
    }

    /// The pod, with a condition of interceptor if one is given.
    fn pod(condition: Option<(&str, &str)>) -> (u16, Value) {
        let condition = condition.map(|(status, reason)| {
            json!({ "type": CONDITION, "status": status, "reason": reason, "message": "why" })
        });
        let conditions: Vec<_> = condition.into_iter().collect();
        (
            200,
            json!({ "spec": { "nodeName": "node1", "containers": [] }, "status": { "conditions": conditions } }),
        )
    }

    #[test]
    fn the_condition_is_that_of_the_annotation() {
        let key = AnnotationKey::new(ANNOTATION).expect("belongs to interceptor");
        assert!(ConditionType::of(&key).any(|type_| type_.as_str() == CONDITION));
    }

    /// The result of waiting, given the pod at each look, and the number of looks.
    async fn wait(timeout: Duration, looks: Vec<(u16, Value)>) -> (Result<()>, usize) {
        let (client, requests) = client(move |_, before| {
            looks.get(before).or(looks.last()).cloned().unwrap_or_else(not_found)
        });
        let options = options(timeout);
        let test = Test { pods: Api::namespaced(client, &options.namespace), options: &options };
        let waited = test.wait_until_active().await;
        (waited, requests.all().len())
    }

    #[tokio::test]
    async fn it_waits_until_the_condition_is_true() {
        let (waited, looks) = wait(
            LONG,
            vec![pod(None), pod(Some(("False", "Proving"))), pod(Some(("True", "Intercepting")))],
        )
        .await;
        waited.expect("active at last");
        assert_eq!(looks, 3);
    }

    #[tokio::test]
    async fn a_refusal_ends_the_wait_at_once() {
        let (waited, looks) =
            wait(LONG, vec![pod(None), pod(Some(("False", "TargetDenied")))]).await;
        let error = waited.expect_err("is refused").to_string();
        assert_eq!(error, "debug.redirect/Active-selftest is False: TargetDenied: why");
        assert_eq!(looks, 2);
    }

    #[tokio::test]
    async fn a_missing_daemon_is_reported_with_its_node() {
        let (waited, _) = wait(SHORT, vec![pod(None)]).await;
        let error = format!("{:#}", waited.expect_err("no daemon reports"));
        assert!(
            error.starts_with("not active after 3s") && error.contains("node node1"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_state_that_does_not_change_is_reported_at_the_end() {
        let (waited, looks) = wait(SHORT, vec![pod(Some(("False", "NetnsNotFound")))]).await;
        let error = format!("{:#}", waited.expect_err("it stays"));
        assert!(error.contains("NetnsNotFound: why"), "{error}");
        assert!(looks > 2, "{looks}");
    }
}
