//! What a test has: the cluster, a namespace of its own, and the product.

use std::{
    net::SocketAddr,
    panic::{self, AssertUnwindSafe},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use testbed::{Answer, wait_until};

use crate::{
    Cluster, Kind, LAPTOP, LAPTOP_PORT, LONG_TIMEOUT, LaptopLoad, Manifest, Pod, Product, Workload,
    pod,
};

/// Tests of one program take turns: each changes what all of them share.
static TURN: Mutex<()> = Mutex::new(());

/// Of namespaces that tests made.
const LABEL: &str = "interceptor-e2e=test";

/// A stage for one test.
#[derive(Debug)]
pub struct Fixture {
    /// The cluster.
    pub cluster: Cluster,
    /// The release of helm.
    pub product: Product,
    namespace: String,
}

/// Plays one test on the cluster, in a namespace whose name begins as you say.
///
/// # Panics
/// When the test fails; then it tells how the namespace and the product's pods looked.
pub fn run(name: &str, body: impl FnOnce(&Fixture) -> Result<()>) {
    run_unless(|_| None, name, body);
}

/// As [`run`], on a cluster that has to have so many nodes.
///
/// # Panics
/// As [`run`].
pub fn run_on_nodes(nodes: usize, name: &str, body: impl FnOnce(&Fixture) -> Result<()>) {
    let lacks = |cluster: &Cluster| {
        let there = cluster.nodes().map_or(0, |nodes| nodes.len());
        (there < nodes).then(|| {
            format!(
                "this needs {nodes} nodes, and there is {there}; `cargo xtask cluster up --nodes {nodes}`"
            )
        })
    };
    run_unless(lacks, name, body);
}

/// As [`run`], on a cluster whose runtime makes user namespaces.
///
/// # Panics
/// As [`run`].
pub fn run_with_user_namespaces(name: &str, body: impl FnOnce(&Fixture) -> Result<()>) {
    let lacks = |cluster: &Cluster| match cluster.makes_user_namespaces() {
        Ok(true) => None,
        Ok(false) => Some(
            "this needs a container runtime that makes user namespaces; \
             `cargo xtask cluster up --runtime containerd-2`"
                .to_owned(),
        ),
        Err(error) => {
            Some(format!("whether the runtime makes user namespaces is not told: {error:#}"))
        }
    };
    run_unless(lacks, name, body);
}

/// As [`run`], on a cluster that has to have IPv6 beside IPv4.
///
/// # Panics
/// As [`run`].
pub fn run_dual_stack(name: &str, body: impl FnOnce(&Fixture) -> Result<()>) {
    let lacks = |cluster: &Cluster| {
        let there = cluster.is_dual_stack().is_ok_and(|there| there);
        (!there).then(|| {
            "this needs IPv6, which the cluster does not have; `cargo xtask cluster up` told why".to_owned()
        })
    };
    run_unless(lacks, name, body);
}

/// Plays it unless the cluster lacks something, which is told loudly.
fn run_unless(
    lacks: impl FnOnce(&Cluster) -> Option<String>,
    name: &str,
    body: impl FnOnce(&Fixture) -> Result<()>,
) {
    let _turn = TURN.lock();
    let Some(cluster) = Cluster::required() else { return };
    if let Some(why) = lacks(&cluster) {
        assert!(!std::env::var("CI").is_ok_and(|value| value == "true"), "{why}");
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("\nSKIPPED: {why}\n\n").as_bytes(),
        );
        return;
    }
    let fixture =
        Fixture::new(cluster, name).unwrap_or_else(|error| panic!("make a namespace: {error:#}"));
    let result = panic::catch_unwind(AssertUnwindSafe(|| body(&fixture)));
    if !matches!(result, Ok(Ok(()))) {
        fixture.explain();
    }
    fixture.end();
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{error:#}"),
        Err(panic) => panic::resume_unwind(panic),
    }
}

impl Fixture {
    fn new(cluster: Cluster, name: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            // The rest of a run that was interrupted.
            cluster.kubectl(&["delete", "namespaces", "--selector", LABEL, "--wait=false"])?;
        }
        // No test waits until the one before is cleared away.
        let namespace = format!("e2e-{name}-{}-{number}", process::id());
        cluster.kubectl(&["create", "namespace", &namespace])?;
        cluster.kubectl(&["label", "namespace", &namespace, LABEL])?;
        let account = [
            "wait",
            "--for=create",
            "--timeout=60s",
            "--namespace",
            &namespace,
            "serviceaccount/default",
        ];
        cluster.kubectl(&account)?;
        Ok(Self { product: Product::new(&cluster), cluster, namespace })
    }

    /// The product is installed, with these values beside those that say where its image is.
    pub fn installed(&self, values: &[&str]) -> Result<()> {
        self.product.install(values)
    }

    /// Waits until what earlier tests made is cleared away: kubelets and the API server are busy with it.
    pub fn wait_alone(&self) -> Result<()> {
        wait_until("the end of other tests' namespaces", LONG_TIMEOUT * 3, || {
            let left = self.cluster.kubectl(&[
                "get",
                "namespaces",
                "--selector",
                LABEL,
                "--output=name",
            ])?;
            ensure!(left.lines().count() <= 1, "{left}");
            Ok(())
        })
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Gives its namespace a label.
    pub fn label(&self, label: &str) -> Result<()> {
        self.cluster
            .kubectl(&["label", "--overwrite", "namespace", &self.namespace, label])
            .map(drop)
    }

    /// Makes a workload; does not wait for its pods.
    pub fn start(&self, manifest: Manifest) -> Result<Workload> {
        let words = ["apply", "--namespace", &self.namespace, "--filename=-"];
        self.cluster.apply_with(&words, &manifest.yaml())?;
        Ok(Workload { cluster: self.cluster.clone(), namespace: self.namespace.clone(), manifest })
    }

    /// A Deployment with a Service; its pods are ready.
    pub fn deployment(&self, name: &str, replicas: usize) -> Result<Workload> {
        let deployment = self.start(Manifest::new(Kind::Deployment, name).replicas(replicas))?;
        deployment.pods()?;
        Ok(deployment)
    }

    /// A pod on the first node whose port is redirected to the laptop, with callers that have been there.
    pub fn redirected(&self) -> Result<(Pod, LaptopLoad)> {
        self.installed(&[])?;
        let app = self.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let callers = self.callers(app.address())?;
        app.annotate("debug.redirect", &self.to_laptop())?;
        app.wait_active()?;
        callers.wait_for("laptop")?;
        Ok((app, callers))
    }

    /// The rule for the app's port, to the server on the laptop.
    pub fn to_laptop(&self) -> String {
        format!("8080 -> {LAPTOP}:{LAPTOP_PORT}")
    }

    /// Callers that call an address, outside of the cluster, until they are stopped.
    pub fn callers(&self, to: SocketAddr) -> Result<LaptopLoad> {
        self.callers_of(&[to])
    }

    /// Callers that call several addresses in turn.
    pub fn callers_of(&self, to: &[SocketAddr]) -> Result<LaptopLoad> {
        let callers = LaptopLoad::start(to)?;
        callers.wait_for_calls(to.len() * 4)?;
        callers.so_far().assert_none_failed();
        Ok(callers)
    }

    /// Asks once, from the laptop.
    pub fn ask(&self, to: SocketAddr) -> Result<Answer> {
        pod::ask(to)
    }

    /// Waits until an address answers; a Service does so a moment after its pods are ready.
    pub fn wait_answering(&self, to: SocketAddr) -> Result<()> {
        wait_until(&format!("{to} to answer"), LONG_TIMEOUT, || self.ask(to)).map(drop)
    }

    /// The Events of its namespace, as people see them.
    pub fn events(&self) -> Result<String> {
        self.cluster.kubectl(&["get", "events", "--namespace", &self.namespace])
    }

    fn explain(&self) {
        let say = |words: &[&str]| {
            let words = [words, &["--namespace", &self.namespace]].concat();
            self.cluster.kubectl(&words).unwrap_or_else(|error| format!("{error:#}\n"))
        };
        eprintln!("--- in {}:\n{}", self.namespace, say(&["get", "pods", "--output=wide"]));
        let conditions =
            "jsonpath={range .items[*]}{.metadata.name} {.status.conditions}{\"\\n\"}{end}";
        eprintln!("--- conditions:\n{}", say(&["get", "pods", "--output", conditions]));
        eprintln!("--- events:\n{}", say(&["get", "events"]));
        eprintln!("--- {}", self.product.explain(&self.namespace));
    }

    fn end(&self) {
        let gone = ["delete", "namespace", &self.namespace, "--wait=false"];
        // Not the test's failure; the next run removes it.
        let _ = self.cluster.kubectl(&gone);
    }
}

/// Runs several things at the same time, and gives what each gave.
pub fn at_once<T: Send, I: Sync>(
    items: &[I],
    body: impl Fn(&I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let threads = items.iter().map(|item| scope.spawn(|| body(item))).collect::<Vec<_>>();
        threads.into_iter().map(|thread| thread.join().ok().context("it panicked")?).collect()
    })
}
