//! The developer commands. Each first runs the part of `setup` that it needs, so a fresh clone
//! needs no other step.

#![forbid(unsafe_code)]

mod advisories;
mod arch;
mod archive;
mod bench;
mod build;
mod bystanders;
mod cache;
mod cargo;
mod cluster;
mod demo;
mod docs;
mod e2e;
mod fuzz;
mod generate;
mod go;
mod heartbeat;
mod image;
mod lint;
mod peers;
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
    /// Install what building needs, and what the given groups of commands need
    Setup {
        /// Groups of commands; by default only what building needs
        #[arg(value_enum)]
        groups: Vec<Group>,
    },
    /// Show what interceptor does, step by step, in network namespaces
    Demo(demo::Options),
    /// Run unit tests, then tests with real sockets in network namespaces (needs root)
    Test {
        /// Arguments for both runs of `cargo test`: part of a test's name, or `-- --nocapture`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check style and rules: every check, or the named ones
    Lint(lint::Options),
    /// Check dependencies for security advisories (needs the network; slow the first time)
    Advisories,
    /// Write generated files: the chart's README.md and values.schema.json
    Gen(generate::Options),
    /// Measure the data path, side by side with other proxies (needs root)
    Bench {
        /// Arguments for `interceptor-bench`; by default its comparison `steal`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Compare calls of real clients to real servers: directly and through the daemon (needs root)
    Peers {
        /// Arguments for `interceptor-peers`; by default it runs all cells
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Send 1,000 requests a second while rules and daemons come and go: none may fail (needs root)
    Bystanders(bystanders::Options),
    /// Build the documentation as a site, in target/site
    Docs(docs::Options),
    /// Feed random input to the parsers
    Fuzz(fuzz::Options),
    /// Run a real Kubernetes on this machine, to try interceptor on (needs root)
    Cluster {
        #[command(subcommand)]
        action: cluster::Action,
    },
    /// Run the tests on a real Kubernetes (needs root)
    E2e(e2e::Options),
    /// Build the container image: an OCI archive, without Docker and without a registry
    Image(image::Options),
    /// Prepare a release: versions, changelog, archives; only shows it without --execute
    Release(release::Options),
    /// Run what CI runs: lint, test, e2e
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
            eprintln!("everything is installed");
            Ok(())
        }
        Command::Demo(options) => demo::demo(&options),
        Command::Test { args } => test::test(&args),
        Command::Lint(options) => lint::lint(&options),
        Command::Advisories => advisories::advisories(),
        Command::Gen(options) => generate::generate(&options),
        Command::Bench { args } => bench::bench(&args),
        Command::Peers { args } => peers::peers(&args),
        Command::Bystanders(options) => bystanders::bystanders(&options),
        Command::Docs(options) => docs::docs(&options),
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
