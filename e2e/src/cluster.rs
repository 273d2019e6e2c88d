//! The cluster, as its admin: kubectl, helm, and its parts to stop and start.

use std::{
    env,
    io::{self, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::wait_until;

use crate::LONG_TIMEOUT;

/// Where `cargo xtask cluster` keeps it.
const STATE: &str = "/var/lib/interceptor-cluster";

/// A cluster that runs.
#[derive(Clone, Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    bin: PathBuf,
}

impl Cluster {
    /// The cluster of this machine. Without one it says so loudly and returns `None`; in CI (`CI=true`) it panics, since
    /// a test that is skipped there is a test that nobody runs.
    ///
    /// # Panics
    /// In CI, when there is no cluster.
    pub fn required() -> Option<Self> {
        let state = Path::new(STATE);
        let cluster =
            Self { kubeconfig: state.join("pki/admin.kubeconfig"), bin: state.join("bin") };
        let why = match cluster.kubectl(&["get", "--raw", "/readyz", "--request-timeout=10s"]) {
            Ok(_) if nix::unistd::geteuid().is_root() => return Some(cluster),
            Ok(_) => {
                "callers run in network namespaces, which needs root; `cargo xtask e2e` sees to it"
                    .to_owned()
            }
            Err(error) => {
                format!("there is no cluster; `cargo xtask cluster up` starts one ({error:#})")
            }
        };
        assert!(
            !env::var("CI").is_ok_and(|value| value == "true"),
            "can't run tests on a cluster: {why}"
        );
        // Not `eprintln`, which the test harness hides when a test passes.
        let _ = writeln!(io::stderr(), "\nSKIPPED: {why}\n");
        None
    }

    /// What kubectl prints; its failure is an error with its words.
    pub fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.command("kubectl", words, None)?.ok()
    }

    /// One request to the API server with somebody's token and nothing else: the code of the answer, and its text.
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
        let told = CommandOutput::new(&format!("{method} {path}"), &output).ok()?;
        let (body, code) = told.rsplit_once('\n').context("an answer without a code")?;
        Ok((code.parse().context("a code")?, body.to_owned()))
    }

    /// `kubectl get … -o json`.
    pub fn get(&self, words: &[&str]) -> Result<Value> {
        let told = self.kubectl(&[&["get", "--output=json"], words].concat())?;
        serde_json::from_str(&told)
            .with_context(|| format!("read what `kubectl get {}` printed", words.join(" ")))
    }

    /// A command of kubectl that reads a manifest.
    pub fn apply_with(&self, words: &[&str], manifest: &str) -> Result<String> {
        self.command("kubectl", words, Some(manifest))?
            .ok()
            .with_context(|| format!("the manifest:\n{manifest}"))
    }

    /// What helm prints; its failure is an error with its words.
    pub fn helm(&self, words: &[&str]) -> Result<String> {
        self.command("helm", words, None)?.ok()
    }

    /// A command of kubectl to run in the background.
    pub fn kubectl_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.bin.join("kubectl"));
        command.args(words).envs(self.environment()).stdin(Stdio::null());
        command
    }

    /// Stops a part of the cluster itself, as `node1-kubelet`. It starts again when this is dropped.
    pub fn stop_part(&self, part: &str) -> Result<Stopped> {
        xtask(&["cluster", "stop", part])?;
        Ok(Stopped(part.to_owned()))
    }

    /// Ends a part and starts it again.
    pub fn restart_part(&self, part: &str) -> Result<()> {
        self.stop_part(part)?.start()
    }

    /// Waits until the API server answers where pods ask for it: at the address of its Service, from the first node.
    /// After an outage that is later than elsewhere, since kube-proxy asks again at its own pace, at last once a minute.
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
            CommandOutput::new("ask it", &curl.output().context("run curl")?).ok().map(drop)
        })
    }

    /// The names of the nodes.
    pub fn nodes(&self) -> Result<Vec<String>> {
        let nodes = self.kubectl(&["get", "nodes", "--output=name"])?;
        Ok(nodes.lines().filter_map(|line| line.strip_prefix("node/")).map(str::to_owned).collect())
    }

    /// Whether the container runtime of the first node makes user namespaces.
    pub fn makes_user_namespaces(&self) -> Result<bool> {
        let node = self.get(&["node", "node1"])?;
        let handlers = node.pointer("/status/runtimeHandlers").and_then(Value::as_array);
        let able = |handler: &Value| {
            handler.pointer("/features/userNamespaces") == Some(&Value::Bool(true))
        };
        Ok(handlers.is_some_and(|handlers| handlers.iter().any(able)))
    }

    /// Whether its nodes have IPv6 beside IPv4.
    pub fn is_dual_stack(&self) -> Result<bool> {
        let nodes = self.get(&["nodes"])?;
        let nodes = nodes["items"].as_array().into_iter().flatten();
        let ips =
            nodes.flat_map(|node| node["status"]["addresses"].as_array().into_iter().flatten());
        let mut ips = ips.filter_map(|address| address["address"].as_str()?.parse::<IpAddr>().ok());
        Ok(ips.any(|ip| ip.is_ipv6()))
    }

    /// Whose cluster it is, and where kubectl keeps what it has asked: not in somebody's home.
    fn environment(&self) -> [(&str, PathBuf); 2] {
        let cache = self.bin.with_file_name("kube-cache");
        [("KUBECONFIG", self.kubeconfig.clone()), ("KUBECACHEDIR", cache)]
    }

    fn command(&self, program: &str, words: &[&str], input: Option<&str>) -> Result<CommandOutput> {
        let mut command = Command::new(self.bin.join(program));
        command.args(words).envs(self.environment());
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let said = || format!("run {program} {}", words.join(" "));
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(said)?;
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin.write_all(input.as_bytes()).with_context(said)?;
        }
        let output = child.wait_with_output().with_context(said)?;
        Ok(CommandOutput::new(&said(), &output))
    }
}

/// What a command said, and how it ended.
#[derive(Clone, Debug)]
pub struct CommandOutput {
    command: String,
    /// Its exit code; nothing if a signal ended it.
    pub exit: Option<i32>,
    /// Its output.
    pub out: String,
    /// Its errors.
    pub err: String,
}

impl CommandOutput {
    fn new(command: &str, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            command: command.to_owned(),
            exit: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Its output, if it went well.
    pub fn ok(self) -> Result<String> {
        let Self { command, exit, out, err } = self;
        ensure!(exit == Some(0), "{command}: exit {exit:?}: {} {}", err.trim(), out.trim());
        Ok(out)
    }
}

/// A part of the cluster that does not run for the time being.
#[derive(Debug)]
pub struct Stopped(String);

impl Stopped {
    /// Starts it again.
    pub fn start(self) -> Result<()> {
        let started = xtask(&["cluster", "start", &self.0]);
        // What follows would only do the same.
        std::mem::forget(self);
        started
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Err(error) = xtask(&["cluster", "start", &self.0]) {
            let _ = writeln!(io::stderr(), "{} does not start again: {error:#}", self.0);
        }
    }
}

/// Runs the command that keeps the cluster: `INTERCEPTOR_XTASK`, or else the one that was built next to the running
/// program.
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
        .with_context(|| format!("run {}; `cargo build -p xtask` makes it", program.display()))?;
    CommandOutput::new(&format!("xtask {}", words.join(" ")), &output).ok().map(drop)
}
