//! Random input for the parsers: the targets in `fuzz/`, a crate of its own with its own lock file.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{cache, cargo, run, setup};

const CARGO_FUZZ: &str = "0.13.1";

#[derive(Args)]
pub(crate) struct Options {
    /// Which target; all of them, one after the other, if not given
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

pub(crate) fn fuzz(options: &Options) -> Result<()> {
    setup::setup(&[])?;
    let folder = run::workspace().join("fuzz");
    let targets = fs::read_dir(folder.join("fuzz_targets"))
        .context("list the targets in fuzz/fuzz_targets")?;
    let names = targets.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut targets =
        names.filter_map(|name| Some(name.strip_suffix(".rs")?.to_owned())).collect::<Vec<_>>();
    targets.sort();
    if let Some(wanted) = &options.target {
        ensure!(
            targets.contains(wanted),
            "no target {wanted:?}; there are: {}",
            targets.join(", ")
        );
        targets.retain(|target| target == wanted);
    }

    let cargo_fuzz = cargo_fuzz()?;
    for target in targets {
        let corpus = folder.join("corpus").join(&target);
        fs::create_dir_all(&corpus).with_context(|| format!("make {}", corpus.display()))?;
        let mut fuzz = Command::new(&cargo_fuzz);
        // The first folder also takes what is found. Sanitizers find little in code without `unsafe`.
        fuzz.args(["fuzz", "run", &target, "--sanitizer", "none", "--fuzz-dir", "fuzz"]);
        fuzz.arg(&corpus).arg(folder.join("seeds").join(&target));
        fuzz.args(["--", &format!("-max_total_time={}", options.seconds), "-max_len=9000"]);
        // The coverage that it goes by is behind an unstable flag, which the pinned compiler has too.
        fuzz.env("RUSTC_BOOTSTRAP", "1").current_dir(run::workspace());
        run::run(&mut fuzz).with_context(|| {
            format!("{target}: what it failed on is in fuzz/artifacts/{target}")
        })?;
    }
    Ok(())
}

/// cargo-fuzz, from PATH or else from our cache, where it is installed when missing.
fn cargo_fuzz() -> Result<PathBuf> {
    if let Some(path) = run::find("cargo-fuzz") {
        return Ok(path);
    }
    let root = cache::folder()?.join(format!("cargo-fuzz-{CARGO_FUZZ}"));
    let path = root.join("bin/cargo-fuzz");
    if !path.exists() {
        eprintln!("installing cargo-fuzz {CARGO_FUZZ}: it builds and runs the fuzz targets");
        let mut cargo = cargo::plain();
        cargo.args([
            "install",
            "cargo-fuzz",
            "--version",
            CARGO_FUZZ,
            "--locked",
            "--quiet",
            "--root",
        ]);
        run::run(cargo.arg(&root)).context("install cargo-fuzz, which needs the network")?;
    }
    Ok(path)
}
