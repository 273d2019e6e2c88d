//! Every developer command. Each begins with the part of `setup` that it needs, so a fresh clone needs no other step.

#![forbid(unsafe_code)]

mod advisories;
mod arch;
mod archive;
mod bench;
mod build;
mod cache;
mod cargo;
mod cluster;
mod demo;
mod e2e;
mod fuzz;
mod generate;
mod go;
mod image;
mod lint;
mod release;
mod run;
mod setup;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::setup::Group;

/// Developer commands of interceptor
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what building needs, and what a group of other commands needs
    Setup {
        /// For which commands; only what building needs if not given
        #[arg(value_enum)]
        groups: Vec<Group>,
    },
    /// Show what interceptor does, step by step, in network namespaces; a minute or two the first time
    Demo(demo::Options),
    /// All tests: those of functions, then those with real sockets in network namespaces (needs root)
    Test {
        /// Passed to both runs of `cargo test`: a part of a test's name, or `-- --nocapture`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check style and rules: all checks, or those that are named
    Lint(lint::Options),
    /// Check the dependencies for security advisories (needs the network, and minutes at first)
    Advisories,
    /// Write what is generated: the chart's README.md and values.schema.json
    Gen(generate::Options),
    /// Measure the data path side by side with its peers (needs root)
    Bench {
        /// Passed to `interceptor-bench`; its whole comparison if not given
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Feed random input to the parsers
    Fuzz(fuzz::Options),
    /// A real Kubernetes on this machine, to try interceptor on (needs root)
    Cluster {
        #[command(subcommand)]
        action: cluster::Action,
    },
    /// Tests on a real Kubernetes (needs root)
    E2e(e2e::Options),
    /// The container image: an OCI archive with the static daemon, without Docker and without a registry
    Image(image::Options),
    /// Prepare a release: versions, changelog, archives; without `--execute`, only show it
    Release(release::Options),
    /// What CI runs: lint, test, e2e
    Ci,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Setup { groups } => {
            setup::setup(&groups)?;
            eprintln!("all there");
            Ok(())
        }
        Command::Demo(options) => demo::demo(&options),
        Command::Test { args } => test::test(&args),
        Command::Lint(options) => lint::lint(&options),
        Command::Advisories => advisories::advisories(),
        Command::Gen(options) => generate::generate(&options),
        Command::Bench { args } => bench::bench(&args),
        Command::Fuzz(options) => fuzz::fuzz(&options),
        Command::Cluster { action } => cluster::cluster(&action),
        Command::E2e(options) => e2e::e2e(&options),
        Command::Image(options) => image::image(&options).map(drop),
        Command::Release(options) => release::release(&options),
        Command::Ci => lint::lint(&lint::Options::default())
            .and_then(|()| test::test(&[]))
            .and_then(|()| e2e::e2e(&e2e::Options::default())),
    }
}
