//! The tests on a real Kubernetes: brings up what they need, gives the product's image to it, and runs them.

use std::{env, path::PathBuf, time::Instant};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    build,
    cluster::{self, Action, Runtime},
    image, run,
    setup::{self, Group},
    test,
};

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Those too that take long or disturb the cluster itself, on two nodes: about 15 minutes
    #[arg(long)]
    all: bool,
    /// Leave the cluster standing afterwards, as when it was up before
    #[arg(long)]
    keep: bool,
    /// What runs the pods; if not given, what the cluster has that is up, or else Debian's
    #[arg(long)]
    runtime: Option<Runtime>,
    /// The product's image; if not given, one that is not optimised is made, and with --all that of `cargo xtask image`
    #[arg(long, env = "INTERCEPTOR_IMAGE")]
    image: Option<PathBuf>,
    /// A part of a test's name, or `-- --nocapture`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    filter: Vec<String>,
}

pub(crate) fn e2e(options: &Options) -> Result<()> {
    let started = Instant::now();
    setup::setup(&[Group::Cluster, Group::E2e])?;
    let was_up = cluster::is_there();
    let image = match &options.image {
        Some(image) => Some(image.clone()),
        // Figures are taken with what people use; it is optimised for many minutes.
        None if options.all => None,
        None => Some(image::for_tests()?),
    };
    let up = cluster::cluster(&Action::Up {
        nodes: if options.all { 2 } else { 1 },
        runtime: options.runtime,
        image,
    });
    let tested = up.and_then(|()| without_release()).and_then(|()| tests(options));
    // What came up by half, too.
    if !was_up && !options.keep && cluster::is_there() {
        cluster::cluster(&Action::Down)?;
    }
    tested?;
    eprintln!("== all of that in {:.0?}", started.elapsed());
    Ok(())
}

/// A release of an earlier image would go on with that.
fn without_release() -> Result<()> {
    let release = [
        "uninstall",
        "interceptor",
        "--namespace=interceptor-system",
        "--ignore-not-found",
        "--wait",
    ];
    run::output(cluster::client("helm").args(release)).map(drop)
}

fn tests(options: &Options) -> Result<()> {
    let mut cargo = build::cargo()?;
    // Of all packages, for the same features as other tests have: only this one has tests of these names.
    cargo.args([
        "test",
        "--workspace",
        "--exclude",
        "interceptor-ebpf",
        "--no-fail-fast",
        "--test",
        "core",
    ]);
    cargo
        .args(options.all.then_some(["--test", "whole"]).into_iter().flatten())
        .args(&options.filter);
    if !options.filter.iter().any(|word| word == "--") {
        cargo.arg("--");
    }
    // They share one cluster, and each changes it.
    cargo.arg("--test-threads=1");
    cargo.env("INTERCEPTOR_XTASK", env::current_exe().context("find the running program")?);
    test::become_root(&mut cargo)?;
    run::run(&mut cargo)
}
