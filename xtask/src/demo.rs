//! The product in five steps, in network namespaces. Each step is narrated and checked.

pub(crate) mod freshness;
mod narrator;
mod recording;
mod steps;

use std::{env, ffi::OsStr, ffi::OsString, process::Command, thread};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use nix::sys::signal::{SigSet, Signal};

use crate::{
    build::{self, Profile},
    run,
    setup::{self, Group},
};

#[derive(Args)]
pub(crate) struct Options {
    /// At the end, start the daemon again and leave all of it standing until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Write what was shown to docs/demo.svg, as an animation
    #[arg(long, conflicts_with = "keep")]
    record: bool,
    /// Everything is built already; INTERCEPTOR_BIN names the daemon
    #[arg(long, hide = true)]
    built: bool,
}

pub(crate) fn demo(options: &Options) -> Result<()> {
    if !options.built {
        setup::setup(&[Group::Demo])?;
        let folder = build::build(&["interceptor"], Profile::Dev)?;
        if !run::is_root() {
            return again_as_root(options, folder.join("interceptor").as_os_str());
        }
    }
    if let Some(why) = testbed::why_not() {
        bail!("this machine can't run the demo: {why}");
    }
    clean_up_on_interrupt()?;
    let entries = steps::play(options.keep)?;
    if options.record {
        return freshness::write(&entries);
    }
    if let Err(error) = freshness::compare(&entries) {
        eprintln!("\n{error:#}");
    }
    Ok(())
}

/// Runs this program again by sudo. Building stays with the user, whose caches it fills.
fn again_as_root(options: &Options, daemon: &OsStr) -> Result<()> {
    let own = env::current_exe().context("find the running program")?;
    let words = build::sudo()?;
    let mut variable = OsString::from("INTERCEPTOR_BIN=");
    variable.push(daemon);
    let mut again = Command::new(&words[0]);
    again.arg(variable).arg(own).args(["demo", "--built"]);
    again.args(options.keep.then_some("--keep")).args(options.record.then_some("--record"));
    run::run(&mut again)
}

/// Removes everything when the process is interrupted.
fn clean_up_on_interrupt() -> Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    // Blocked in every thread from here on, so that the waiting thread receives them.
    signals.thread_block().context("block signals")?;
    thread::spawn(move || {
        let signal = signals.wait();
        testbed::remove_own();
        std::process::exit(signal.map_or(1, |signal| 128 + signal as i32));
    });
    Ok(())
}
