//! The daemon as one static file: linked with musl by the linker of the toolchain.
//!
//! The flags here apply to the daemon alone. Cargo uses them for the given target only.
//! `interceptor/build.rs` builds the kernel programs meanwhile, with flags of its own.

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

/// The profile of images that users run.
pub(crate) const FOR_USE: &str = "container";
/// The cheapest profile that still compiles and links everything. It shares macros and build
/// scripts with the tests.
pub(crate) const CHECK: &str = "dev";

/// Builds the daemon and returns its bytes.
pub(crate) fn daemon(arch: Arch, profile: &str) -> Result<Vec<u8>> {
    setup::setup(&[])?;
    musl::install(&[arch])?;
    let target = arch.target();
    let compiler = musl::compiler(arch);

    let mut cargo = build::cargo()?;
    cargo.args(["build", "--locked", "--package", "interceptor", "--bin", "interceptor"]);
    cargo.args(["--target", target, "--profile", profile]);
    // Replaces the user's RUSTFLAGS: the image is the same for every builder.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags()?);
    let screaming = target.to_uppercase().replace('-', "_");
    cargo.env(format!("CARGO_TARGET_{screaming}_LINKER"), "rust-lld");
    let snake = target.replace('-', "_");
    cargo.env(format!("CC_{snake}"), compiler.cc).env(format!("AR_{snake}"), compiler.ar);
    if profile == CHECK {
        // Only tests use this image. The kernel programs are always optimised.
        cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_PROFILE_DEV_DEBUG", "false");
    }
    run::run(&mut cargo)?;

    // Cargo's one exception: the profile `dev` uses the folder `debug`.
    let folder = if profile == "dev" { "debug" } else { profile };
    let path = build::target()?.join(target).join(folder).join("interceptor");
    fs::read(&path).with_context(|| format!("read {}", path.display()))
}

/// The flags, separated as `CARGO_ENCODED_RUSTFLAGS` needs it.
fn flags() -> Result<OsString> {
    let mut flags = OsString::from("-Ctarget-feature=+crt-static");
    for (place, name) in places()? {
        flags.push("\x1f--remap-path-prefix=");
        flags.push(place);
        flags.push(format!("={name}"));
    }
    Ok(flags)
}

/// Folders on this machine and their names in the daemon. Backtraces then name paths inside the
/// project, and the daemon is the same to the byte on every machine.
pub(crate) fn places() -> Result<[(PathBuf, String); 3]> {
    let Rustc { sysroot, commit, .. } = Rustc::ask()?;
    Ok([
        (run::workspace().to_owned(), "/interceptor".to_owned()),
        (cargo_home()?, "/cargo".to_owned()),
        // The name that the compiler uses without the component rust-src.
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
