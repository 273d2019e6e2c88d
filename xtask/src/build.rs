//! Cargo with the right linker for kernel programs, and the daemon built by it.

use std::{
    env,
    ffi::OsString,
    iter,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{run, setup::bpf_linker};

/// Optimised or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// `cargo` in the workspace, with our bpf-linker first in PATH: the daemon's build script looks there.
pub(crate) fn cargo() -> Result<Command> {
    let linker = bpf_linker::path()?;
    let folders = linker.parent().map(Path::to_owned).into_iter();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(folders.chain(env::split_paths(&path))).context("make a PATH")?;
    let mut cargo = plain_cargo();
    cargo.env("PATH", path).current_dir(run::workspace());
    Ok(cargo)
}

/// The cargo that runs us, and so the pinned toolchain.
pub(crate) fn plain_cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What `cargo run` told us about ourselves would make the build scripts of others run again.
    let about_us =
        ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    for (key, _) in env::vars_os() {
        if about_us.iter().any(|prefix| key.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(key);
        }
    }
    cargo
}

/// Builds packages with their binaries, and gives the folder where these are.
pub(crate) fn build(packages: &[&str], profile: Profile) -> Result<PathBuf> {
    let arguments = iter::once("build").chain(packages.iter().flat_map(|package| ["-p", package]));
    let release = (profile == Profile::Release).then_some("--release");
    run::run(cargo()?.args(arguments).args(release))?;
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    };
    Ok(target()?.join(folder))
}

/// The target folder.
pub(crate) fn target() -> Result<PathBuf> {
    // <target>/<profile>/xtask
    let own = env::current_exe().context("find the running program")?;
    own.ancestors().nth(2).map(Path::to_owned).context("find the target folder")
}

/// How to become root, for a user who may: words to put before a command. Nothing for root.
pub(crate) fn sudo() -> Result<Vec<OsString>> {
    if run::is_root() {
        return Ok(Vec::new());
    }
    run::find("sudo").context("this needs root, and there is no sudo; run it as root")?;
    Ok(vec!["sudo".into()])
}
