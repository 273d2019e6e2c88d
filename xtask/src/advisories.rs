//! Checks the dependencies with cargo-deny: everything in `deny.toml`, and the database of security
//! advisories. It fetches that database, so the workflows run this command and `lint` does not.

use std::process::Command;

use anyhow::Result;

use crate::{run, setup::cargo_tool};

const CARGO_DENY: &str = "0.20.2";

pub(crate) fn advisories() -> Result<()> {
    let cargo_deny =
        cargo_tool::find("cargo-deny", CARGO_DENY, "it checks dependencies for advisories")?;
    run::run(Command::new(cargo_deny).args(["--locked", "check"]).current_dir(run::workspace()))
}
