//! `cargo xtask peers`: the peer matrix, all of it or a part.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use interceptor_peers::{
    normal,
    run::{Options, list, run},
};

/// Compare calls of real clients to real servers: directly and through the daemon
#[derive(Parser)]
#[command(bin_name = "cargo xtask peers")]
struct Cli {
    /// Only cells whose name has all of these words: parts of an oddity, a client, a server
    words: Vec<String>,
    /// Only the set of cells that CI runs
    #[arg(long)]
    covering: bool,
    /// Leave out what needs a missing runtime, instead of failing
    #[arg(long)]
    allow_missing: bool,
    /// Print what all sides saw of each cell
    #[arg(long)]
    show: bool,
    /// Print the names of the cells, and run none
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match report(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn report(cli: Cli) -> Result<bool> {
    let Cli { words, covering, allow_missing, show, list: only_list } = cli;
    let options = Options { covering, words, allow_missing, show };
    if only_list {
        list(&options)?.iter().for_each(|name| println!("{name}"));
        return Ok(true);
    }
    if let Some(why) = testbed::why_not() {
        anyhow::bail!("can't run: {why}");
    }
    let report = run(&options)?;
    for (pattern, reason) in normal::reasons() {
        println!("not compared: {pattern} ({reason})");
    }
    for (cell, time) in &report.slowest {
        println!("{time:8.1?} {cell}");
    }
    println!("{report}");
    Ok(report.failures.is_empty())
}
