//! The long version of the tests in which bystanders send requests all the time.

use anyhow::Result;
use clap::Args;

use crate::{
    build::{self, Profile},
    run,
    setup::{self, Group},
    test,
};

/// The variable that the tests read.
const SECONDS: &str = "INTERCEPTOR_BYSTANDER_SECONDS";

/// Which tests, and for how long
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long each test sends requests, in seconds
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Only tests with this in their name
    #[arg(default_value = "no_request_fails")]
    name: String,
}

pub(crate) fn bystanders(options: &Options) -> Result<()> {
    setup::setup(&[Group::Test])?;
    let daemon = build::build(&["interceptor"], Profile::Dev)?.join("interceptor");
    let mut cargo = test::cargo_test(&["--test", "bystanders"], &[])?;
    cargo.args(["--", "--test-threads=1", "--nocapture", &options.name]);
    cargo.env("INTERCEPTOR_BIN", daemon).env(SECONDS, options.seconds.to_string());
    test::become_root(&mut cargo)?;
    run::run(&mut cargo)
}
