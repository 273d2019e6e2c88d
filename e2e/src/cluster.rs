//! The cluster, as its admin uses it: kubectl, helm, and the parts of the cluster itself.

use std::{
    env,
    io::{self, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use testbed::{CommandOutput, wait_until};

use crate::LONG_TIMEOUT;

/// The folder in which `cargo xtask cluster` keeps the cluster.
const STATE: &str = "/var/lib/interceptor-cluster";

/// A running cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    bin: PathBuf,
}

impl Cluster {
    /// The cluster of this machine. Without one, prints the reason and returns `None`.
    ///
    /// # Panics
    /// In CI (`CI=true`), if there is no cluster: a test that is skipped there never runs.
    pub fn required() -> Option<Self> {
        let state = Path::new(STATE);
        let cluster =
            Self { kubeconfig: state.join("pki/admin.kubeconfig"), bin: state.join("bin") };
        let why = match cluster.kubectl(&["get", "--raw", "/readyz", "--request-timeout=10s"]) {
            Ok(_) if nix::unistd::geteuid().is_root() => return Some(cluster),
            Ok(_) => "clients run in network namespaces, which needs root; use `cargo xtask e2e`"
                .to_owned(),
            Err(error) => {
                format!("there is no cluster; `cargo xtask cluster up` starts one ({error:#})")
            }
        };
        assert!(
            !env::var("CI").is_ok_and(|value| value == "true"),
            "cannot run tests on a cluster: {why}"
        );
        // The test harness would hide the output of `eprintln` when the test passes.
        let _ = writeln!(io::stderr(), "\nSKIPPED: {why}\n");
        None
    }

    /// Runs kubectl and returns its output.
    ///
    /// # Errors
    /// If kubectl fails; the error has its output.
    pub fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.command("kubectl", words, None)?.ok()
    }

    /// Sends one request to the API server with a token and no other credentials. Returns the
    /// status code and the body.
    pub fn request(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<(&str, &str)>,
    ) -> Result<(u16, String)> {
        let view = |what: &str| {
            self.kubectl(&[
                "config",
                "view",
                &format!("--output=jsonpath={{.clusters[0].cluster.{what}}}"),
            ])
        };
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "10",
            "--write-out",
            "\n%{http_code}",
        ]);
        curl.args([
            "--cacert",
            &view("certificate-authority")?,
            "--oauth2-bearer",
            token,
            "--request",
            method,
        ]);
        if let Some((kind, body)) = body {
            curl.args(["--header", &format!("Content-Type: {kind}"), "--data", body]);
        }
        let output =
            curl.arg(view("server")? + path).stdin(Stdio::null()).output().context("run curl")?;
        let output = CommandOutput::new(&format!("{method} {path}"), &output).ok()?;
        let (body, code) = output.rsplit_once('\n').context("a response without a status code")?;
        Ok((code.parse().context("the status code")?, body.to_owned()))
    }

    /// `kubectl get … --output=json`.
    pub fn get(&self, words: &[&str]) -> Result<Value> {
        let output = self.kubectl(&[&["get", "--output=json"], words].concat())?;
        serde_json::from_str(&output)
            .with_context(|| format!("parse the output of `kubectl get {}`", words.join(" ")))
    }

    /// Runs a command of kubectl that reads a manifest from its standard input.
    pub fn apply_with(&self, words: &[&str], manifest: &str) -> Result<String> {
        self.command("kubectl", words, Some(manifest))?
            .ok()
            .with_context(|| format!("the manifest:\n{manifest}"))
    }

    /// Runs helm and returns its output.
    ///
    /// # Errors
    /// If helm fails; the error has its output.
    pub fn helm(&self, words: &[&str]) -> Result<String> {
        self.command("helm", words, None)?.ok()
    }

    /// A command of kubectl that the test runs in the background.
    pub fn kubectl_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.bin.join("kubectl"));
        command.args(words).envs(self.environment()).stdin(Stdio::null());
        command
    }

    /// Runs a script of `sh` that uses kubectl, as a user would, and returns its output.
    pub fn shell(&self, script: &str) -> Result<String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).envs(self.environment()).stdin(Stdio::null());
        shell.env("PATH", format!("{}:{path}", self.bin.display()));
        CommandOutput::new(script, &shell.output().context("run sh")?).ok()
    }

    /// Stops a part of the cluster, as in `node1-kubelet`. Dropping the result starts it again.
    pub fn stop_part(&self, part: &str) -> Result<Stopped> {
        xtask(&["cluster", "stop", part])?;
        Ok(Stopped(part.to_owned()))
    }

    /// Restarts a part of the cluster.
    pub fn restart_part(&self, part: &str) -> Result<()> {
        self.stop_part(part)?.start()
    }

    /// Waits until the API server answers at the address of its Service, where pods connect, from
    /// the first node. After an outage this takes up to a minute longer than elsewhere, until
    /// kube-proxy has asked again.
    pub fn wait_api_service(&self) -> Result<()> {
        let ask = |what: &str, words: &[&str]| {
            self.kubectl(&[words, &[&format!("--output=jsonpath={{{what}}}")]].concat())
        };
        let address =
            ask(".spec.clusterIP", &["get", "service", "kubernetes", "--namespace=default"])?;
        let authority = ask(".clusters[0].cluster.certificate-authority", &["config", "view"])?;
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "2",
            "--cacert",
            &authority,
        ]);
        curl.arg(format!("https://{address}/readyz")).stdin(Stdio::null());
        wait_until("the API server at the address of its Service", LONG_TIMEOUT * 2, || {
            CommandOutput::new("curl", &curl.output().context("run curl")?).ok().map(drop)
        })
    }

    /// Drains a node of the pods of one app. Dropping the result undoes the cordon.
    pub fn drain(&self, node: &'static str, app: &str) -> Result<Drained<'_>> {
        let drained = Drained { cluster: self, node };
        let selector = format!("--pod-selector=app={app}");
        self.kubectl(&["drain", node, "--ignore-daemonsets", &selector, "--timeout=60s"])?;
        Ok(drained)
    }

    /// The names of the nodes.
    pub fn nodes(&self) -> Result<Vec<String>> {
        let nodes = self.kubectl(&["get", "nodes", "--output=name"])?;
        Ok(nodes.lines().filter_map(|line| line.strip_prefix("node/")).map(str::to_owned).collect())
    }

    /// Whether the container runtime of the first node supports user namespaces.
    pub fn makes_user_namespaces(&self) -> Result<bool> {
        let node = self.get(&["node", "node1"])?;
        let handlers = node.pointer("/status/runtimeHandlers").and_then(Value::as_array);
        let able = |handler: &Value| {
            handler.pointer("/features/userNamespaces") == Some(&Value::Bool(true))
        };
        Ok(handlers.is_some_and(|handlers| handlers.iter().any(able)))
    }

    /// Whether the nodes have IPv6 beside IPv4.
    pub fn is_dual_stack(&self) -> Result<bool> {
        let nodes = self.get(&["nodes"])?;
        let nodes = nodes["items"].as_array().into_iter().flatten();
        let ips =
            nodes.flat_map(|node| node["status"]["addresses"].as_array().into_iter().flatten());
        let mut ips = ips.filter_map(|address| address["address"].as_str()?.parse::<IpAddr>().ok());
        Ok(ips.any(|ip| ip.is_ipv6()))
    }

    /// The kubeconfig, and a cache for kubectl outside of the user's home.
    fn environment(&self) -> [(&str, PathBuf); 2] {
        let cache = self.bin.with_file_name("kube-cache");
        [("KUBECONFIG", self.kubeconfig.clone()), ("KUBECACHEDIR", cache)]
    }

    fn command(&self, program: &str, words: &[&str], input: Option<&str>) -> Result<CommandOutput> {
        let mut command = Command::new(self.bin.join(program));
        command.args(words).envs(self.environment());
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let shown = || format!("run {program} {}", words.join(" "));
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(shown)?;
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin.write_all(input.as_bytes()).with_context(shown)?;
        }
        let output = child.wait_with_output().with_context(shown)?;
        Ok(CommandOutput::new(&shown(), &output))
    }
}

/// A node that was drained. Dropping it lets pods come to the node again.
#[derive(Debug)]
pub struct Drained<'c> {
    cluster: &'c Cluster,
    node: &'static str,
}

impl Drop for Drained<'_> {
    fn drop(&mut self) {
        let _ = self.cluster.kubectl(&["uncordon", self.node]);
    }
}

/// A part of the cluster that is stopped. Dropping it starts the part again.
#[derive(Debug)]
pub struct Stopped(String);

impl Stopped {
    /// Starts the part again.
    pub fn start(self) -> Result<()> {
        let started = xtask(&["cluster", "start", &self.0]);
        // Drop would start it a second time.
        std::mem::forget(self);
        started
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Err(error) = xtask(&["cluster", "start", &self.0]) {
            let _ = writeln!(io::stderr(), "cannot start {} again: {error:#}", self.0);
        }
    }
}

/// Runs the xtask program: `INTERCEPTOR_XTASK`, or else the one next to the running program.
fn xtask(words: &[&str]) -> Result<()> {
    let program = match env::var_os("INTERCEPTOR_XTASK") {
        Some(program) => PathBuf::from(program),
        None => {
            let own = env::current_exe().context("find the running program")?;
            // <target>/<profile>/deps/<test>
            own.ancestors().nth(2).context("the folder of the profile")?.join("xtask")
        }
    };
    let output = Command::new(&program).args(words).stdin(Stdio::null()).output();
    let output = output
        .with_context(|| format!("run {}; `cargo build -p xtask` builds it", program.display()))?;
    CommandOutput::new(&format!("xtask {}", words.join(" ")), &output).ok().map(drop)
}
