//! The product in five steps, in network namespaces, each told in a line or two and checked.

mod narrator;
mod steps;

use std::{env, process::Command, thread};

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
    /// At the end, start the daemon again and leave all of it standing until Ctrl-C, to play with by hand
    #[arg(long)]
    keep: bool,
    /// Everything is built already; INTERCEPTOR_BIN names the daemon
    #[arg(long, hide = true)]
    built: bool,
}

pub(crate) fn demo(options: &Options) -> Result<()> {
    if !options.built {
        setup::setup(&[Group::Demo])?;
        let folder = build::build(&["interceptor"], Profile::Dev)?;
        if !run::is_root() {
            return again_as_root(options, &folder.join("interceptor").into_os_string());
        }
    }
    if let Some(why) = testbed::why_not() {
        bail!("this machine can't show it: {why}");
    }
    clean_up_on_interrupt()?;
    steps::play(options.keep)
}

/// Building is for the user, whose caches it fills; only the rest needs root.
fn again_as_root(options: &Options, daemon: &std::ffi::OsStr) -> Result<()> {
    let own = env::current_exe().context("find the running program")?;
    let words = build::sudo()?;
    let mut variable = std::ffi::OsString::from("INTERCEPTOR_BIN=");
    variable.push(daemon);
    let mut again = Command::new(&words[0]);
    again.arg(variable).arg(own).args(["demo", "--built"]).args(options.keep.then_some("--keep"));
    run::run(&mut again)
}

/// Ctrl-C at any moment leaves nothing behind.
fn clean_up_on_interrupt() -> Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    // Blocked in every thread from here on, so that they come to the one that waits for them.
    signals.thread_block().context("block signals")?;
    thread::spawn(move || {
        let signal = signals.wait();
        testbed::remove_own();
        std::process::exit(signal.map_or(1, |signal| 128 + signal as i32));
    });
    Ok(())
}
