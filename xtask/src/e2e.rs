//! The tests on a real Kubernetes: starts a cluster, loads the image into it, and runs them.

use std::{env, path::PathBuf, time::Instant};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    build,
    cluster::{self, Action, Runtime},
    heartbeat::step,
    image, run,
    setup::{self, Group},
    test,
};

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Also tests that are slow or disturb the cluster, on two nodes: about 15 minutes
    #[arg(long)]
    all: bool,
    /// Keep the cluster afterwards; one that was up before always stays
    #[arg(long)]
    keep: bool,
    /// Container runtime; by default that of the running cluster, or else Debian's
    #[arg(long)]
    runtime: Option<Runtime>,
    /// Image of the product; by default a new one, which is optimised only with --all
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
        // These tests measure, so they need the optimised image. It takes many minutes to build.
        None if options.all => None,
        None => {
            step("the image of interceptor", "a minute or two after a change of the daemon");
            Some(image::for_tests()?)
        }
    };
    let up = cluster::cluster(&Action::Up {
        nodes: if options.all { 2 } else { 1 },
        runtime: options.runtime,
        image,
    });
    let tested = up.and_then(|()| without_release()).and_then(|()| tests(options));
    // Also a cluster that started only in part.
    if !was_up && !options.keep && cluster::is_there() {
        cluster::cluster(&Action::Down)?;
    }
    tested?;
    eprintln!("== done in {:.0?}", started.elapsed());
    Ok(())
}

/// Removes a release of an earlier image, which would keep running.
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
    let expected = if options.all { "about 15 minutes" } else { "some minutes" };
    step("the tests, one after the other", expected);
    let mut cargo = build::cargo()?;
    // Building all packages gives the same features as the other tests have. Only this package has
    // tests of these names.
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
    // The tests share one cluster, and each changes it.
    cargo.arg("--test-threads=1");
    cargo.env("INTERCEPTOR_XTASK", env::current_exe().context("find the running program")?);
    test::become_root(&mut cargo)?;
    run::run(&mut cargo)
}
