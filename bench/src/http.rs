//! Compares the daemon with haproxy and nginx for requests on a port with a condition on a header.
//!
//! All of them run in the same pod and route on the same header. The comparison measures the cost
//! for bystanders, whose requests do not match, and for the developer, whose requests do.
//!
//! wrk (HTTP/1.1) and h2load (HTTP/2) generate the load, and the servers are nginx. Cases take
//! turns in rounds, as in [`crate::steal`]. `direct` runs twice to show the noise of the machine.

mod cases;
mod fixture;
mod load;
mod report;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum as _};

use self::{
    cases::{Case, Load},
    fixture::Fixture,
    report::{Report, Sample},
};
use crate::steal::{facts::Facts, watchdog::Watchdog};

/// The options of `interceptor-bench http`.
#[derive(Args)]
pub(crate) struct Options {
    /// Number of measurements of each case
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of each load in whole seconds
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Also write the report with all samples to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Run only these cases
    #[arg(long, value_delimiter = ',', value_name = "CASE")]
    only: Vec<Case>,
    /// Run only these loads
    #[arg(long, value_delimiter = ',', value_name = "LOAD")]
    loads: Vec<Load>,
}

/// Builds the namespaces, runs every case in every round, and prints the report.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(why) = testbed::why_not() {
        bail!("this machine can't run the comparison: {why}");
    }
    testbed::binary().context("build the daemon first: `cargo build --release -p interceptor`")?;
    ensure!(options.rounds > 0 && options.seconds > 0, "--rounds and --seconds must be at least 1");
    let _watchdog = Watchdog::start()?;
    let machine = Facts::collect();
    let cases = if options.only.is_empty() { Case::value_variants() } else { &options.only };
    let loads = if options.loads.is_empty() { Load::value_variants() } else { &options.loads };

    let fixture = Fixture::build()?;
    let mut samples = Vec::new();
    for round in 0..options.rounds {
        for turn in 0..cases.len() {
            let case = cases[(turn + round) % cases.len()];
            eprintln!("round {} of {}: {}", round + 1, options.rounds, case.name());
            let loads: Vec<Load> = loads.iter().copied().filter(|load| case.can(*load)).collect();
            let measured = fixture
                .measure(case, &loads, options.seconds)
                .with_context(|| format!("{} in round {}", case.name(), round + 1))?;
            samples.extend(measured.into_iter().map(|(load, figures)| Sample {
                round,
                case,
                load,
                figures,
            }));
        }
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let report = Report {
        command: format!("cargo xtask bench {}", args.join(" ")),
        machine,
        rounds: options.rounds,
        seconds_per_load: options.seconds,
        samples,
    };
    print!("{}", report.text(cases, loads));
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    Ok(())
}
