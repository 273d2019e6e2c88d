//! Builds the kernel programs, so that a plain `cargo build` makes a daemon that contains them.
//!
//! aya-build writes below `OUT_DIR`, which differs for each profile, feature set and wrapper
//! (clippy, test, release). Each of them would compile `core` for the kernel again, for a minute
//! and 300 MB each time. So all of them share one folder.
//!
//! aya-build also turns every line of the inner cargo into a warning of the outer one, which
//! repeats it for every later command. So aya-build runs in a child process, whose warnings are
//! printed only if it fails.
#![allow(unsafe_code, reason = "see build_objects")]

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use aya_build::{Package, Toolchain};

const OBJECTS: [&str; 2] = ["steal", "caller"];
/// The folder for the objects. The variable is set in the child process only.
const OBJECTS_DIR: &str = "INTERCEPTOR_OBJECTS_DIR";

fn main() -> Result<()> {
    if let Some(dir) = env::var_os(OBJECTS_DIR) {
        return build_objects(Path::new(&dir));
    }
    let out_dir = PathBuf::from(env::var("OUT_DIR").context("OUT_DIR")?);
    // OUT_DIR is below the target folder, which cargo marks with this file.
    let target =
        out_dir.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists()).unwrap_or(&out_dir);
    let objects = target.join("ebpf");
    std::fs::create_dir_all(&objects).with_context(|| format!("make {}", objects.display()))?;

    let child = Command::new(env::current_exe()?).env(OBJECTS_DIR, &objects).output()?;
    let output = String::from_utf8_lossy(&child.stdout);
    for line in
        output.lines().filter(|line| !child.status.success() || !line.starts_with("cargo:warning="))
    {
        println!("{line}");
    }
    if !child.status.success() {
        bail!(
            "{}\nbuild the kernel programs; `cargo xtask setup` installs the tools (bpf-linker, \
             rust-src)",
            String::from_utf8_lossy(&child.stderr)
        );
    }
    println!("cargo:rerun-if-changed=../crates/common/src");
    for object in OBJECTS {
        println!(
            "cargo:rustc-env=EBPF_{}={}",
            object.to_uppercase(),
            objects.join(object).display()
        );
    }
    Ok(())
}

fn build_objects(dir: &Path) -> Result<()> {
    // SAFETY: the process has one thread. RUSTC_BOOTSTRAP lets the stable compiler accept
    // `-Z build-std` and `-Z trim-paths`, for the kernel programs only. aya-build writes to
    // OUT_DIR.
    unsafe {
        env::set_var("RUSTC_BOOTSTRAP", "1");
        // Messages of the verifier then name the source file without the path of the build machine.
        env::set_var("CARGO_UNSTABLE_TRIM_PATHS", "true");
        env::set_var("CARGO_PROFILE_RELEASE_TRIM_PATHS", "all");
        env::set_var("OUT_DIR", dir);
    }
    let root_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR")?)
        .join("../interceptor-ebpf");
    let toolchain = env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".into());
    aya_build::build_ebpf(
        [Package {
            name: "interceptor-ebpf",
            root_dir: root_dir.to_str().context("the path of the project is not UTF-8")?,
            ..Package::default()
        }],
        Toolchain::Custom(&toolchain),
    )
}
