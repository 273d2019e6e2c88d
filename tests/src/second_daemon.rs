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
        let (node, binary) = (topology.node().clone(), binary()?);
        let mut command = node.command(&binary);
        command
            .args(["run", "--admin", ADMIN, "--netns"])
            .arg(pod.netns_path())
            .args(["--redirect", rule]);
        let process = node.spawn(&mut command)?;
        let second = Self { process, node, binary };
        wait_until("the second daemon to be active", TIMEOUT, || {
            let state = second.status().map_err(|error| format!("{error:#}"))?;
            let rules = state["workloads"][0]["rules"].as_array().cloned().unwrap_or_default();
            let active = !rules.is_empty() && rules.iter().all(|rule| rule["state"] == "active");
            if active { Ok(()) } else { Err(state.to_string()) }
        })?;
        Ok(second)
    }

    /// The output of `interceptor status --output json`.
    pub fn status(&self) -> Result<Value> {
        let mut command = self.node.command(&self.binary);
        let output = command.args(["status", "--output", "json", "--admin", ADMIN]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).context("read the status")
    }

    /// Sends a signal and waits until the daemon has ended.
    pub fn end(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)?;
        self.process.wait(TIMEOUT).map(drop)
    }
}
