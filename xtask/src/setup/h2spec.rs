//! h2spec, which says whether a server speaks HTTP/2 as it should. A Go program that no Debian package has; the
//! versions of it and of all that it needs are in `tests/h2spec`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context as _, Result, bail};

use crate::{cache, run};

const VERSION: &str = "2.2.1";

/// Where it is: in PATH, or else in our cache.
pub(crate) fn find() -> Result<Option<PathBuf>> {
    let cached = home()?.join("h2spec");
    Ok(run::find("h2spec").or_else(|| Some(cached).filter(|path| path.exists())))
}

/// Builds it unless it is there. Without a Go compiler it is not: its tests then say so.
pub(crate) fn install() -> Result<()> {
    let go = run::find("go")
        .or_else(|| Some(PathBuf::from("/usr/local/go/bin/go")).filter(|go| go.exists()));
    let Some(go) = go.filter(|_| matches!(find(), Ok(None))) else { return Ok(()) };
    eprintln!("building h2spec {VERSION}: it tests HTTP/2; some seconds");
    // Built next to its place and then renamed: it is never there by half.
    let home = home()?;
    let building = home.with_file_name(format!("h2spec-building-{}", process::id()));
    let built = install_into(&building, &go);
    if built.is_ok() && fs::rename(&building, &home).is_err() && !home.exists() {
        bail!("can't rename {} to {}", building.display(), home.display());
    }
    let _ = fs::remove_dir_all(&building);
    built.context("build h2spec, which needs the network")
}

fn install_into(folder: &Path, go: &Path) -> Result<()> {
    let mut go = Command::new(go);
    go.args(["install", "-mod=readonly", "github.com/summerwind/h2spec/cmd/h2spec"]);
    run::run(go.env("GOBIN", folder).current_dir(run::workspace().join("tests/h2spec")))
}

fn home() -> Result<PathBuf> {
    Ok(cache::folder()?.join(format!("h2spec-{VERSION}")))
}
