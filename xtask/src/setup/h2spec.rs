//! h2spec, which tests HTTP/2 servers. No Debian package has it, so it is built from its Go module.
//! `tests/h2spec` pins its version and those of its dependencies.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{cache, go, run};

const VERSION: &str = "2.2.1";

/// The path of h2spec: in PATH, or else in the cache.
pub(crate) fn find() -> Result<Option<PathBuf>> {
    let cached = home()?.join("h2spec");
    Ok(run::find("h2spec").or_else(|| Some(cached).filter(|path| path.exists())))
}

/// Builds h2spec if it is missing.
pub(crate) fn install() -> Result<()> {
    if find()?.is_some() {
        return Ok(());
    }
    let go = go::compiler("h2spec")?;
    eprintln!("== building h2spec {VERSION}: it tests HTTP/2; some seconds");
    cache::keep(&home()?, |folder| install_into(folder, &go))
        .context("build h2spec, which needs the network")
}

fn install_into(folder: &Path, go: &Path) -> Result<()> {
    let mut go = Command::new(go);
    go.args(["install", "-mod=readonly", "github.com/summerwind/h2spec/cmd/h2spec"]);
    run::run_silent(go.env("GOBIN", folder).current_dir(run::workspace().join("tests/h2spec")))
}

fn home() -> Result<PathBuf> {
    Ok(cache::folder()?.join(format!("h2spec-{VERSION}")))
}
