//! What operators and developers see: mistakes with place and remedy, refusals with their reason,
//! counters that agree with the clients' counts, logs without payload. Each test is one promise.

#![forbid(unsafe_code)]

mod admin;
mod counters;
mod logs;
mod mistakes;
mod refusals;
mod rights;
mod target;

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{Fixture, TIMEOUT};
use serde_json::Value;
use testbed::{CommandOutput, Daemon, binary, wait_until};

/// Runs the binary in the node with these arguments. `adapt` may change the command.
fn interceptor(
    f: &Fixture<'_>,
    args: &[&str],
    adapt: impl FnOnce(&mut Command),
) -> Result<CommandOutput> {
    let mut command = f.t.node().command(binary()?);
    command.args(args);
    adapt(&mut command);
    let output = command.output().context("run the binary")?;
    Ok(CommandOutput::new("interceptor", &output))
}

/// The first rule of the workload `web` in `/state`.
fn first_rule(daemon: &Daemon) -> Result<Value> {
    Ok(daemon.workload("web")?["rules"][0].clone())
}

/// Reason and message of the first rule, once it is in `state`.
fn first_condition(daemon: &Daemon, state: &str) -> Result<(String, String)> {
    let rule = wait_until(&format!("a rule in state {state}"), TIMEOUT, || {
        let rule = first_rule(daemon)?;
        ensure!(rule["state"] == state, "{rule}");
        Ok(rule)
    })?;
    let word = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
    Ok((word("reason"), word("message")))
}
