//! The pinned Rust toolchain and its components.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::run;

/// Properties of the compiler.
pub(crate) struct Rustc {
    pub(crate) sysroot: PathBuf,
    pub(crate) commit: String,
    pub(crate) llvm_major: String,
}

impl Rustc {
    pub(crate) fn ask() -> Result<Self> {
        let rustc = |argument: &[&str]| {
            run::output(Command::new("rustc").args(argument).current_dir(run::workspace()))
        };
        let version = rustc(&["-vV"])?;
        let field = |name: &str| {
            let value =
                version.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.with_context(|| format!("`rustc -vV` has no {name:?}"))
        };
        let pinned = pinned()?;
        let release = field("release")?;
        ensure!(
            release == pinned,
            "rustc is {release}, but rust-toolchain.toml pins {pinned}; rustup follows the file \
             unless RUSTUP_TOOLCHAIN or `+toolchain` overrides it",
        );
        Ok(Self {
            sysroot: rustc(&["--print", "sysroot"])?.trim().into(),
            commit: field("commit-hash")?.to_owned(),
            llvm_major: field("LLVM version")?.split('.').next().unwrap_or_default().to_owned(),
        })
    }
}

/// Adds missing components.
pub(crate) fn components() -> Result<()> {
    let sysroot = Rustc::ask()?.sysroot;
    for (component, proof, why) in [
        (
            "rust-src",
            "lib/rustlib/src/rust/library/core/src/lib.rs",
            "`core` is compiled for the kernel programs",
        ),
        ("clippy", "bin/cargo-clippy", "`cargo xtask lint` runs it"),
        ("rustfmt", "bin/rustfmt", "`cargo xtask lint` runs it"),
    ] {
        if sysroot.join(proof).exists() {
            continue;
        }
        eprintln!("installing the Rust component {component}: {why}");
        if run::find("rustup").is_none() {
            bail!(
                "{component} is missing in {}, and there is no rustup to add it",
                sysroot.display()
            );
        }
        run::run(
            Command::new("rustup")
                .args(["component", "add", component])
                .current_dir(run::workspace()),
        )
        .with_context(|| format!("add {component}, which needs the network"))?;
    }
    Ok(())
}

/// Adds the standard library of another target if it is missing.
pub(crate) fn target(triple: &str) -> Result<()> {
    let sysroot = Rustc::ask()?.sysroot;
    if sysroot.join("lib/rustlib").join(triple).join("lib").exists() {
        return Ok(());
    }
    eprintln!("installing the Rust target {triple}: it builds static programs");
    if run::find("rustup").is_none() {
        bail!("{triple} is missing in {}, and there is no rustup to add it", sysroot.display());
    }
    run::run(Command::new("rustup").args(["target", "add", triple]).current_dir(run::workspace()))
        .with_context(|| format!("add {triple}, which needs the network"))
}

/// The compiler version in `rust-toolchain.toml`.
pub(crate) fn pinned() -> Result<String> {
    let file = run::workspace().join(Path::new("rust-toolchain.toml"));
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let channel = text
        .lines()
        .find_map(|line| line.strip_prefix("channel = "))
        .context("rust-toolchain.toml has no channel")?;
    Ok(channel.trim_matches('"').to_owned())
}
