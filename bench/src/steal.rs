//! The comparison: a redirect by the daemon beside nothing at all, haproxy, and iptables with haproxy.
//!
//! Cases take turns in rounds, so that the machine's other work falls on all of them; `cases` says what they are,
//! `ground` where they happen, `samples` and `goals` what becomes of the numbers.

mod arming;
mod cases;
pub(crate) mod facts;
mod goals;
mod ground;
mod idle;
mod measure;
pub(crate) mod process;
mod report;
mod samples;
pub(crate) mod watchdog;

pub(crate) use self::watchdog::sweep_after;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use self::cases::{Case, Load, Middle};
use self::facts::Facts;
use self::ground::Ground;
use self::measure::Plan;
use self::report::Report;
use self::samples::{Sample, Samples};
use self::watchdog::Watchdog;
use crate::{cpus, net};

/// What the user may choose.
#[derive(Args)]
pub(crate) struct Options {
    /// How often each case is measured [default: 7, or 3 with --quick]
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of each load [default: 1.2, or 0.4 with --quick]
    #[arg(long)]
    seconds: Option<f64>,
    /// Less than two minutes instead of less than ten, and coarser
    #[arg(long)]
    quick: bool,
    /// Also write everything, each sample included, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only these cases; those that they are compared with are not added
    #[arg(long, value_delimiter = ',', value_name = "CASE")]
    only: Vec<Case>,
    /// Only these loads
    #[arg(long, value_delimiter = ',', value_name = "LOAD")]
    loads: Vec<Load>,
}

/// Builds the ground, runs every case in every round, and prints the report.
pub(crate) fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let (rounds, seconds, changes, watch) =
        if options.quick { (3, 0.4, 15, 3) } else { (7, 1.2, 50, 10) };
    let rounds = options.rounds.unwrap_or(rounds);
    let seconds = options.seconds.unwrap_or(seconds);
    net::duration(seconds)?;
    let all_unless_named =
        |named: &[Case]| if named.is_empty() { Case::value_variants() } else { named }.to_vec();
    let cases = all_unless_named(&options.only);
    let loads = if options.loads.is_empty() {
        Load::value_variants().to_vec()
    } else {
        options.loads.clone()
    };
    let daemon_measured = cases.iter().any(|case| case.middle() == Middle::Daemon);
    // Arming, idle and held are about the daemon alone; `--only haproxy-1t` does not ask for them.
    let daemon_load = |load| daemon_measured && loads.contains(&load);
    let round_loads: Vec<Load> = loads
        .iter()
        .copied()
        .filter(|load| matches!(load, Load::Conns | Load::Rr | Load::Bulk))
        .collect();

    if let Some(why) = testbed::why_not() {
        bail!("this machine can't run the comparison: {why}");
    }
    if daemon_measured {
        testbed::binary().context(
            "the daemon is measured as `cargo build --release -p interceptor` builds it",
        )?;
    }
    ensure!(rounds > 0, "--rounds must be at least 1");
    let _watchdog = Watchdog::start()?;

    let machine = Facts::collect();
    let ground = Ground::build()?;
    if cases.iter().any(|case| matches!(case.middle(), Middle::Haproxy { redirect: true, .. })) {
        ground.redirect_peer()?;
    }
    let plan = Plan { loads: round_loads, seconds, cpus: cpus::allowed()? };
    let mut samples = Samples::default();
    if !plan.loads.is_empty() {
        for round in 0..rounds {
            for case in cases::rotated(&cases, round) {
                eprintln!("round {} of {rounds}: {}", round + 1, case.name());
                let values = measure::case(&ground, case, &plan)
                    .with_context(|| format!("{} in round {}", case.name(), round + 1))?;
                for (metric, value) in values {
                    samples.push(Sample { round, case, metric, value });
                }
            }
        }
    }
    // What fails here must not cost the rounds that are already measured.
    let mut errors = Vec::new();
    let arming = daemon_load(Load::Arming).then(|| {
        eprintln!("a rule added and removed {changes} times");
        arming::run(&ground, changes).context("arming")
    });
    let arming = keep(arming, &mut errors);
    let held = daemon_load(Load::Held).then(|| {
        eprintln!("9000 silent connections");
        idle::held(&ground, 9_000).context("silent connections")
    });
    let held = keep(held, &mut errors);
    let idle = daemon_load(Load::Idle).then(|| {
        eprintln!("100 idle workloads");
        idle::workloads(&ground, 100, Duration::from_secs(watch)).context("idle workloads")
    });
    let idle = keep(idle, &mut errors);

    let report = Report {
        command: repeat_with(),
        machine,
        load_average_after: facts::load_average(),
        elapsed_seconds: start.elapsed().as_secs_f64(),
        rounds,
        seconds_per_load: seconds,
        goals: goals::judge(&samples, arming.as_ref(), held.as_ref()),
        cases,
        arming,
        idle,
        held,
        samples,
    };
    print!("{}", report.text());
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// The result if there is one; an error is told at once, and kept for the end.
fn keep<T>(result: Option<Result<T>>, errors: &mut Vec<anyhow::Error>) -> Option<T> {
    match result? {
        Ok(value) => Some(value),
        Err(error) => {
            eprintln!("{error:#}");
            errors.push(error);
            None
        }
    }
}

/// The command line that does this again.
fn repeat_with() -> String {
    let args: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo xtask bench {}", args.join(" "))
}
