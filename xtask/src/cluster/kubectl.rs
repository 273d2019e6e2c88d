//! kubectl and helm, as the cluster's admin.

use std::process::Command;

use anyhow::Result;

use super::State;
use crate::run;

/// Runs kubectl without showing it, and returns its output.
pub(crate) fn kubectl(state: &State, words: &[&str]) -> Result<String> {
    run::output(client(state, "kubectl").args(words))
}

/// A program of the cluster that reads a kubeconfig.
pub(crate) fn client(state: &State, program: &str) -> Command {
    let mut client = Command::new(state.bin(program));
    client.env("KUBECONFIG", state.kubeconfig("admin")).env("KUBECACHEDIR", state.kube_cache());
    client
}
