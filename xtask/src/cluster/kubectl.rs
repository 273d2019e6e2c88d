//! kubectl, as the cluster's admin.

use anyhow::Result;

use super::{State, client_of};
use crate::run;

/// Runs it silently and gives what it printed.
pub(crate) fn kubectl(state: &State, words: &[&str]) -> Result<String> {
    run::output(client_of(state, "kubectl").args(words))
}
