//! The peer matrix: real clients and servers, directly and through the daemon.

use std::process::Command;

use anyhow::Result;

use crate::{
    build::{self, Profile},
    run,
    setup::{self, Group, peers as installed},
};

/// The variable that names the folder of what setup has built.
pub(crate) const HOME: &str = "INTERCEPTOR_PEERS";

pub(crate) fn peers(args: &[String]) -> Result<()> {
    setup::setup(&[Group::Peers])?;
    // As the tests have them, so nothing is compiled twice.
    let folder = build::build(&["interceptor", "interceptor-peers"], Profile::Dev)?;

    let program = folder.join("interceptor-peers");
    let mut peers = match run::sudo()?.split_first() {
        Some((sudo, rest)) => {
            let mut peers = Command::new(sudo);
            peers.args(rest).arg("--preserve-env").arg(program);
            peers
        }
        None => Command::new(program),
    };
    peers.args(args).env("INTERCEPTOR_BIN", folder.join("interceptor"));
    run::run(peers.env(HOME, installed::home()?))
}
