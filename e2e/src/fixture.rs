//! The fixture of a test: the cluster, a namespace of its own, and the product.

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
    AnotherRelease, Cluster, Kind, LAPTOP, LAPTOP_PORT, LONG_TIMEOUT, LaptopLoad, Manifest, Pod,
    Product, Workload, pod,
};

/// Tests of one program run one after the other, since each changes the cluster.
static TURN: Mutex<()> = Mutex::new(());

/// The label of the tests' namespaces.
const LABEL: &str = "interceptor-e2e=test";

/// The fixture of one test.
#[derive(Debug)]
pub struct Fixture {
    /// The cluster.
    pub cluster: Cluster,
    /// The helm release.
    pub product: Product,
    namespace: String,
}

/// Runs one test on the cluster, in a namespace whose name contains `name`.
///
/// # Panics
/// If the test fails. Then it prints the state of the namespace and of the product's pods.
pub fn run(name: &str, body: impl FnOnce(&Fixture) -> Result<()>) {
    run_unless(|_| None, name, body);
}

/// As [`run`], on a cluster with at least `nodes` nodes.
///
/// # Panics
/// As [`run`].
pub fn run_on_nodes(nodes: usize, name: &str, body: impl FnOnce(&Fixture) -> Result<()>) {
    let lacks = |cluster: &Cluster| {
        let count = cluster.nodes().map_or(0, |nodes| nodes.len());
        (count < nodes).then(|| {
            format!(
                "this needs {nodes} nodes, and the cluster has {count}; \
                 `cargo xtask cluster up --nodes {nodes}`"
            )
        })
    };
    run_unless(lacks, name, body);
}

/// As [`run`], on a cluster whose runtime supports user namespaces.
///
/// # Panics
/// As [`run`].
pub fn run_with_user_namespaces(name: &str, body: impl FnOnce(&Fixture) -> Result<()>) {
    let lacks = |cluster: &Cluster| match cluster.makes_user_namespaces() {
        Ok(true) => None,
        Ok(false) => Some(
            "this needs a container runtime with user namespaces; \
             `cargo xtask cluster up --runtime containerd-2`"
                .to_owned(),
        ),
        Err(error) => {
            Some(format!("cannot find out whether the runtime supports user namespaces: {error:#}"))
        }
    };
    run_unless(lacks, name, body);
}

/// As [`run`], on a cluster with IPv6 beside IPv4.
///
/// # Panics
/// As [`run`].
pub fn run_dual_stack(name: &str, body: impl FnOnce(&Fixture) -> Result<()>) {
    let lacks = |cluster: &Cluster| {
        let dual_stack = cluster.is_dual_stack().is_ok_and(|dual_stack| dual_stack);
        (!dual_stack).then(|| {
            "this needs IPv6, which the cluster lacks; `cargo xtask cluster up` prints the reason"
                .to_owned()
        })
    };
    run_unless(lacks, name, body);
}

/// Runs the test unless the cluster lacks something; then it prints the reason. In CI it fails.
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
    let fixture = Fixture::new(cluster, name)
        .unwrap_or_else(|error| panic!("create the namespace: {error:#}"));
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
            // Namespaces of a run that was interrupted.
            cluster.kubectl(&["delete", "namespaces", "--selector", LABEL, "--wait=false"])?;
        }
        // No test waits until the namespace of the previous one is gone.
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

    /// Installs the product with these values, beside those of the image.
    pub fn installed(&self, values: &[&str]) -> Result<()> {
        self.product.install(values)
    }

    /// Another release of the product, which is not installed yet.
    pub fn another_release(&self) -> AnotherRelease {
        AnotherRelease::new(&self.cluster)
    }

    /// Waits until the namespaces of earlier tests are gone, which keep kubelets and the API server
    /// busy.
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

    /// The namespace of the test.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Labels the namespace of the test.
    pub fn label(&self, label: &str) -> Result<()> {
        self.cluster
            .kubectl(&["label", "--overwrite", "namespace", &self.namespace, label])
            .map(drop)
    }

    /// Creates a workload, without waiting for its pods.
    pub fn start(&self, manifest: Manifest) -> Result<Workload> {
        let words = ["apply", "--namespace", &self.namespace, "--filename=-"];
        self.cluster.apply_with(&words, &manifest.yaml())?;
        Ok(Workload { cluster: self.cluster.clone(), namespace: self.namespace.clone(), manifest })
    }

    /// Creates a Deployment with a Service, and waits until its pods are ready.
    pub fn deployment(&self, name: &str, replicas: usize) -> Result<Workload> {
        let deployment = self.start(Manifest::new(Kind::Deployment, name).replicas(replicas))?;
        deployment.pods()?;
        Ok(deployment)
    }

    /// A pod on the first node that is redirected to the laptop, with a load that the laptop
    /// serves.
    pub fn redirected(&self) -> Result<(Pod, LaptopLoad)> {
        self.installed(&[])?;
        let app = self.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let load = self.load(app.address())?;
        app.annotate("debug.redirect", &self.to_laptop())?;
        app.wait_active()?;
        load.wait_for("laptop")?;
        Ok((app, load))
    }

    /// The rule that redirects the app's port to the server on the laptop.
    pub fn to_laptop(&self) -> String {
        format!("8080 -> {LAPTOP}:{LAPTOP_PORT}")
    }

    /// Starts a load on an address, from outside of the cluster.
    pub fn load(&self, to: SocketAddr) -> Result<LaptopLoad> {
        self.load_on(&[to])
    }

    /// Starts a load on several addresses in turn.
    pub fn load_on(&self, to: &[SocketAddr]) -> Result<LaptopLoad> {
        let load = LaptopLoad::start(to)?;
        load.wait_for_calls(to.len() * 4)?;
        load.so_far().assert_none_failed();
        Ok(load)
    }

    /// One call from the laptop.
    pub fn ask(&self, to: SocketAddr) -> Result<Answer> {
        pod::ask(to)
    }

    /// Waits until an address answers. A Service answers a moment after its pods are ready.
    pub fn wait_answering(&self, to: SocketAddr) -> Result<()> {
        wait_until(&format!("{to} to answer"), LONG_TIMEOUT, || self.ask(to)).map(drop)
    }

    /// The Events of the namespace, as kubectl prints them.
    pub fn events(&self) -> Result<String> {
        self.cluster.kubectl(&["get", "events", "--namespace", &self.namespace])
    }

    fn explain(&self) {
        let output = |words: &[&str]| {
            let words = [words, &["--namespace", &self.namespace]].concat();
            self.cluster.kubectl(&words).unwrap_or_else(|error| format!("{error:#}\n"))
        };
        eprintln!("--- in {}:\n{}", self.namespace, output(&["get", "pods", "--output=wide"]));
        let conditions =
            "jsonpath={range .items[*]}{.metadata.name} {.status.conditions}{\"\\n\"}{end}";
        eprintln!("--- conditions:\n{}", output(&["get", "pods", "--output", conditions]));
        eprintln!("--- events:\n{}", output(&["get", "events"]));
        eprintln!("--- {}", self.product.explain(&self.namespace));
    }

    fn end(&self) {
        let gone = ["delete", "namespace", &self.namespace, "--wait=false"];
        // A failure is not the test's; the next run deletes the namespace.
        let _ = self.cluster.kubectl(&gone);
    }
}

/// Runs `body` for all items at the same time, and returns the results.
pub fn at_once<T: Send, I: Sync>(
    items: &[I],
    body: impl Fn(&I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let threads = items.iter().map(|item| scope.spawn(|| body(item))).collect::<Vec<_>>();
        threads.into_iter().map(|thread| thread.join().ok().context("a thread panicked")?).collect()
    })
}
