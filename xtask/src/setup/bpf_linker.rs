//! bpf-linker, the last step of building kernel programs. It must understand the output of exactly
//! this compiler. So it is built against the LLVM inside the toolchain, once for each toolchain,
//! into the cache.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::rust::Rustc;
use crate::{cache, cargo, run};

const VERSION: &str = "0.13.0";

/// Its path, whether or not it is installed.
pub(crate) fn path() -> Result<PathBuf> {
    Ok(home(&Rustc::ask()?)?.join("bin/bpf-linker"))
}

/// Builds it if it is missing.
pub(crate) fn install() -> Result<()> {
    let rustc = Rustc::ask()?;
    let home = home(&rustc)?;
    if home.join("bin/bpf-linker").exists() {
        return Ok(());
    }
    eprintln!(
        "== building bpf-linker {VERSION}, which links the kernel programs: a minute or two, once \
         for each toolchain"
    );
    cache::keep(&home, |folder| install_into(folder, &rustc))
        .context("build bpf-linker; this needs the network, or a filled registry cache of cargo")
}

fn install_into(root: &Path, rustc: &Rustc) -> Result<()> {
    let lib = rustc.sysroot.join("lib");
    // Its build looks for lib/libLLVM.so below a prefix. The toolchain has that file under a longer
    // name.
    let prefix = root.join("llvm-prefix");
    fs::create_dir_all(prefix.join("lib")).with_context(|| format!("make {}", prefix.display()))?;
    symlink(libllvm(&lib)?, prefix.join("lib/libLLVM.so")).context("link to libLLVM")?;

    let mut cargo = cargo::plain();
    cargo
        .args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--locked",
            "--quiet",
            "--no-default-features",
        ])
        .args(["--features", &format!("llvm-{}", rustc.llvm_major), "--root"])
        .arg(root)
        // That libLLVM.so is a script that names the real one, so its folder is searched, too. With
        // the rpath, the program finds it later.
        .env("RUSTFLAGS", format!("-L {lib} -C link-arg=-Wl,-rpath,{lib}", lib = lib.display()))
        .env("LLVM_PREFIX", &prefix)
        .env("CARGO_TARGET_DIR", root.join("target"))
        // Halves the build time. Linking takes hardly longer.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(root);
    run::run_silent(&mut cargo)?;
    fs::remove_dir_all(root.join("target")).context("remove the build's files")?;
    fs::remove_dir_all(prefix).context("remove the build's files")?;
    run::output(Command::new(root.join("bin/bpf-linker")).arg("--version")).map(drop)
}

fn libllvm(lib: &Path) -> Result<PathBuf> {
    let entries = lib.read_dir().with_context(|| format!("list {}", lib.display()))?.flatten();
    let found = entries.map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libLLVM-") && name.ends_with(".so")
    });
    found.with_context(|| {
        format!(
            "{} has no libLLVM-*.so; rustup's toolchains have it, those of distributions may not",
            lib.display()
        )
    })
}

fn home(rustc: &Rustc) -> Result<PathBuf> {
    let toolchain = rustc.commit.get(..12).context("the commit of rustc is too short")?;
    Ok(cache::folder()?.join(format!("bpf-linker-{VERSION}-{toolchain}")))
}
