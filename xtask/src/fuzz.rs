//! Feeds random input to the parsers. The targets are in `fuzz/`, a crate with its own lock file.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    run,
    setup::{self, cargo_tool},
};

const CARGO_FUZZ: &str = "0.13.1";

#[derive(Args)]
pub(crate) struct Options {
    /// One target; by default all of them, one after the other
    target: Option<String>,
    /// Run time of each target, in seconds
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
        let all = targets.join(", ");
        ensure!(targets.contains(wanted), "no target {wanted:?}; the targets are {all}");
        targets.retain(|target| target == wanted);
    }

    let cargo_fuzz =
        cargo_tool::find("cargo-fuzz", CARGO_FUZZ, "it builds and runs the fuzz targets")?;
    for target in targets {
        let corpus = folder.join("corpus").join(&target);
        fs::create_dir_all(&corpus).with_context(|| format!("make {}", corpus.display()))?;
        let mut fuzz = Command::new(&cargo_fuzz);
        // libFuzzer adds new inputs to the first folder. Sanitizers find little in code without
        // `unsafe`.
        fuzz.args(["fuzz", "run", &target, "--sanitizer", "none", "--fuzz-dir", "fuzz"]);
        fuzz.arg(&corpus).arg(folder.join("seeds").join(&target));
        fuzz.args(["--", &format!("-max_total_time={}", options.seconds), "-max_len=9000"]);
        // Coverage is behind an unstable flag. This variable allows it on the pinned compiler.
        fuzz.env("RUSTC_BOOTSTRAP", "1").current_dir(run::workspace());
        run::run(&mut fuzz)
            .with_context(|| format!("{target}: the input is in fuzz/artifacts/{target}"))?;
    }
    Ok(())
}
