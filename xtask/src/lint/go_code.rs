//! The style of Go, of which tests and the cluster have some, and `go vet` for the peer matrix.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};

use crate::{go, run};

/// # Errors
///
/// Go is missing, a file is not formatted, or `go vet` has found something.
pub(crate) fn check(workspace: &Path) -> Result<()> {
    let go = go::compiler("a check of Go code")?;
    let list = ["ls-files", "--cached", "--others", "--exclude-standard", "*.go"];
    let files = run::output(Command::new("git").args(list).current_dir(workspace))?;
    // It is beside the compiler.
    let mut gofmt = Command::new(go.with_file_name("gofmt"));
    let badly = run::output(gofmt.arg("-d").args(files.lines()).current_dir(workspace))?;
    ensure!(badly.is_empty(), "gofmt would change this:\n{badly}");
    let mut vet = Command::new(&go);
    vet.args(["vet", "-mod=readonly", "./..."]).current_dir(workspace.join("peers"));
    run::run_silent(&mut vet)
}
