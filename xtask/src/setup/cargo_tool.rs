//! Cargo commands that take minutes to compile. They are built once, when a command needs them, and
//! kept in the cache; no command of `.ci/run` needs one.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{cache, cargo, run};

/// The program, from PATH or else from the cache, where it is installed if it is missing.
///
/// # Errors
///
/// It is missing and can't be built.
pub(crate) fn find(name: &str, version: &str, why: &str) -> Result<PathBuf> {
    if let Some(path) = run::find(name) {
        return Ok(path);
    }
    let home = cache::folder()?.join(format!("{name}-{version}"));
    if !home.exists() {
        eprintln!("== building {name} {version}: {why}; some minutes");
        cache::keep(&home, |folder| {
            let mut install = cargo::plain();
            install.args(["install", name, "--version", version, "--locked", "--quiet"]);
            run::run_silent(install.arg("--root").arg(folder))
        })
        .with_context(|| format!("install {name}, which needs the network"))?;
    }
    Ok(home.join("bin").join(name))
}
