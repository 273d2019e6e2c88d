//! What people are told: mistakes with their place and remedy, refusals with who refused, counters that agree with what
//! callers saw, logs without payload. Each test is one promise.

mod admin;
mod counters;
mod logs;
mod mistakes;
mod refusals;
mod rights;

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{Fixture, TIMEOUT};
use serde_json::Value;
use testbed::{Daemon, binary, wait_until};

/// Runs the binary in the node, with its first arguments and a say in how.
fn interceptor(f: &Fixture<'_>, args: &[&str], adapt: impl FnOnce(&mut Command)) -> Result<Told> {
    let mut command = f.t.node().command(binary()?);
    command.args(args);
    adapt(&mut command);
    Ok(Told::from(command.output().context("run the binary")?))
}

/// What a command said.
#[derive(Debug)]
struct Told {
    exit: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { exit: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// The first rule of the workload `web` in `/state`.
fn first_rule(daemon: &Daemon) -> Result<Value> {
    Ok(daemon.workload("web")?["rules"][0].clone())
}

/// The condition of the first rule, once it is in this state.
fn told(daemon: &Daemon, state: &str) -> Result<(String, String)> {
    let rule = wait_until(&format!("a rule that is {state}"), TIMEOUT, || {
        let rule = first_rule(daemon)?;
        ensure!(rule["state"] == state, "{rule}");
        Ok(rule)
    })?;
    let word = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
    Ok((word("reason"), word("message")))
}
