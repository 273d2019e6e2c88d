//! Builds the kernel programs, so that a plain `cargo build` gives a daemon that carries them.
//!
//! aya-build writes below `OUT_DIR`, which differs for each profile, feature set and wrapper (clippy, test, release):
//! each would compile `core` for the kernel again, a minute and 300 MB a time. All of them share one folder instead.
#![allow(unsafe_code, reason = "see main")]

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain};

const OBJECTS: [&str; 1] = ["steal"];

fn main() -> Result<()> {
    let manifest_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR")?);
    let out_dir = PathBuf::from(env::var("OUT_DIR").context("OUT_DIR")?);
    // OUT_DIR is <target>/<profile>/build/<package>-<hash>/out, with <target triple> in between when cross-compiling.
    let target = out_dir
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").exists())
        .unwrap_or(&out_dir)
        .join("ebpf");
    std::fs::create_dir_all(&target).with_context(|| format!("make {}", target.display()))?;

    // SAFETY: a build script is single-threaded here. RUSTC_BOOTSTRAP lets the stable compiler take `-Z build-std`,
    // for the kernel programs alone; OUT_DIR is what aya-build goes by.
    unsafe {
        env::set_var("RUSTC_BOOTSTRAP", "1");
        env::set_var("OUT_DIR", &target);
    }
    let root_dir = manifest_dir.join("../interceptor-ebpf");
    let toolchain = env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".into());
    aya_build::build_ebpf(
        [Package {
            name: "interceptor-ebpf",
            root_dir: root_dir.to_str().context("the path of the project is not UTF-8")?,
            ..Package::default()
        }],
        Toolchain::Custom(&toolchain),
    )
    .context("build the kernel programs; `cargo xtask setup` installs what this needs (bpf-linker, rust-src)")?;

    println!("cargo:rerun-if-changed=../interceptor-common/src");
    for object in OBJECTS {
        println!("cargo:rustc-env=EBPF_{}={}", object.to_uppercase(), target.join(object).display());
    }
    Ok(())
}
