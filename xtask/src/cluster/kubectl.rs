//! kubectl, as the cluster's admin.

use std::process::Command;

use anyhow::Result;

use super::State;
use crate::run;

/// Runs it silently and gives what it printed.
pub(crate) fn kubectl(state: &State, words: &[&str]) -> Result<String> {
    run::output(Command::new(state.bin("kubectl")).args(words).env("KUBECONFIG", state.kubeconfig("admin")))
}
