//! The daemon as one file that needs no other: linked with musl by the linker in the toolchain.
//!
//! What is said here is for the daemon alone. Cargo applies it to the given target only, and the build of the kernel
//! programs, which `interceptor/build.rs` starts in the middle of it, sets flags of its own.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    arch::Arch,
    build, run,
    setup::{self, musl, rust::Rustc},
};

/// The profile of images that are for use.
pub(crate) const FOR_USE: &str = "container";
/// The cheapest that still compiles and links everything. It shares what is compiled for this machine (macros, build
/// scripts) with the tests.
pub(crate) const CHECK: &str = "dev";

/// Builds it, and gives its bytes.
pub(crate) fn daemon(arch: Arch, profile: &str) -> Result<Vec<u8>> {
    setup::setup(&[])?;
    musl::install(&[arch])?;
    let target = arch.target();
    let compiler = musl::compiler(arch);

    let mut cargo = build::cargo()?;
    cargo.args(["build", "--locked", "--package", "interceptor", "--bin", "interceptor"]);
    cargo.args(["--target", target, "--profile", profile]);
    // In place of what the user has in RUSTFLAGS: the image is the same for everybody.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags()?);
    let screaming = target.to_uppercase().replace('-', "_");
    cargo.env(format!("CARGO_TARGET_{screaming}_LINKER"), "rust-lld");
    let snake = target.replace('-', "_");
    cargo.env(format!("CC_{snake}"), compiler.cc).env(format!("AR_{snake}"), compiler.ar);
    if profile == CHECK {
        // Nobody uses it for long. This says nothing to the kernel programs, which are always optimised.
        cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_PROFILE_DEV_DEBUG", "false");
    }
    run::run(&mut cargo)?;

    // Cargo's only exception: what is built with `dev` goes into `debug`.
    let folder = if profile == "dev" { "debug" } else { profile };
    let path = build::target()?.join(target).join(folder).join("interceptor");
    fs::read(&path).with_context(|| format!("read {}", path.display()))
}

/// One word after the other, as cargo wants them.
fn flags() -> Result<OsString> {
    let mut flags = OsString::from("-Ctarget-feature=+crt-static");
    for (place, name) in places()? {
        flags.push("\x1f--remap-path-prefix=");
        flags.push(place);
        flags.push(format!("={name}"));
    }
    Ok(flags)
}

/// Where the sources are here, and what they are called in the daemon: backtraces say where in the project something is,
/// and not where somebody once had it; and wherever it is built, the daemon is the same to the byte.
pub(crate) fn places() -> Result<[(PathBuf, String); 3]> {
    let Rustc { sysroot, commit, .. } = Rustc::ask()?;
    Ok([
        (run::workspace().to_owned(), "/interceptor".to_owned()),
        (cargo_home()?, "/cargo".to_owned()),
        // As the compiler calls them where the component rust-src is missing.
        (sysroot.join("lib/rustlib/src/rust"), format!("/rustc/{commit}")),
    ])
}

fn cargo_home() -> Result<PathBuf> {
    match env::var_os("CARGO_HOME") {
        Some(home) if !home.is_empty() => Ok(home.into()),
        _ => Ok(Path::new(&env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?)
            .join(".cargo")),
    }
}
