//! Measurements: an optimised daemon, and the benchmark program that compares it with other
//! proxies.

use std::process::Command;

use anyhow::Result;

use crate::{
    build::{self, Profile},
    run,
    setup::{self, Group},
};

pub(crate) fn bench(args: &[String]) -> Result<()> {
    setup::setup(&[Group::Bench])?;
    let folder = build::build(&["interceptor", "interceptor-bench"], Profile::Release)?;

    let program = folder.join("interceptor-bench").into_os_string();
    let words = run::sudo()?.into_iter().chain([program]).collect::<Vec<_>>();
    let mut bench = Command::new(&words[0]);
    bench.args(&words[1..]);
    if args.is_empty() {
        bench.arg("steal");
    }
    run::run(bench.args(args).env("INTERCEPTOR_BIN", folder.join("interceptor")))
}
