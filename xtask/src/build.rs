//! Cargo with the right linker for kernel programs, and what it builds.

use std::{
    env, iter,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

pub(crate) use crate::run::sudo;
use crate::{cargo, run, setup::bpf_linker};

/// Cargo's profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// `cargo` in the workspace, with our bpf-linker first in PATH, where the daemon's build script
/// looks for it.
pub(crate) fn cargo() -> Result<Command> {
    let linker = bpf_linker::path()?;
    let folders = linker.parent().map(Path::to_owned).into_iter();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(folders.chain(env::split_paths(&path))).context("make a PATH")?;
    let mut cargo = cargo::plain();
    cargo.env("PATH", path).current_dir(run::workspace());
    Ok(cargo)
}

/// Builds packages with their binaries, and returns the folder of the binaries.
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
