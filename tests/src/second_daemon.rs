//! A second daemon beside that of `testbed`, as in an upgrade or by mistake.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use testbed::{Namespace, Process, Topology, binary, wait_until};

use crate::TIMEOUT;

const ADMIN: &str = "127.0.0.1:9470";

/// Another running daemon. Dropping it ends it.
#[derive(Debug)]
pub struct SecondDaemon {
    process: Process,
    node: Namespace,
    binary: PathBuf,
}

impl SecondDaemon {
    /// Starts the daemon with one rule for `pod` on the command line, and waits until the rule is
    /// active.
    pub fn start(topology: &Topology, pod: &Namespace, rule: &str) -> Result<Self> {
        let second = Self::launch(topology, pod, rule)?;
        second.wait_rule("active")?;
        Ok(second)
    }

    /// Starts the daemon with one rule for `pod` on the command line.
    pub fn launch(topology: &Topology, pod: &Namespace, rule: &str) -> Result<Self> {
        let (node, binary) = (topology.node().clone(), binary()?);
        let mut command = node.command(&binary);
        command
            .args(["run", "--admin", ADMIN, "--instance", "other/interceptor-2", "--netns"])
            .arg(pod.netns_path())
            .args(["--redirect", rule]);
        let process = node.spawn(&mut command)?;
        Ok(Self { process, node, binary })
    }

    /// Waits until its rule is in `state`, and returns the rule.
    pub fn wait_rule(&self, state: &str) -> Result<Value> {
        wait_until(&format!("the second daemon's rule to be {state}"), TIMEOUT, || {
            let status = self.status().map_err(|error| format!("{error:#}"))?;
            let rule = status["workloads"][0]["rules"][0].clone();
            if rule["state"] == state { Ok(rule) } else { Err(status.to_string()) }
        })
    }

    /// The output of `interceptor status --output json`.
    pub fn status(&self) -> Result<Value> {
        let mut command = self.node.command(&self.binary);
        let output = command.args(["status", "--output", "json", "--admin", ADMIN]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).context("read the status")
    }

    /// The number of connections that its rule has taken from the app so far.
    pub fn connections(&self) -> Result<u64> {
        let rule = self.status()?["workloads"][0]["rules"][0].clone();
        let outcomes = rule["outcomes"].as_array().cloned().unwrap_or_default();
        Ok(outcomes.iter().filter_map(|outcome| outcome["count"].as_u64()).sum())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends a signal and waits until the daemon has ended.
    pub fn end(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)?;
        self.process.wait(TIMEOUT).map(drop)
    }
}
