//! Compares a redirect by the daemon with a direct connection, haproxy, and iptables with haproxy.
//!
//! Cases take turns in rounds, so that other work of the machine affects all of them. `cases` lists
//! them, `fixture` builds the namespaces, `measure` runs a case, and `samples` and `goals` evaluate
//! the numbers.

mod arming;
mod cases;
pub(crate) mod facts;
mod fixture;
mod goals;
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
use self::fixture::Fixture;
use self::measure::Plan;
use self::report::Report;
use self::samples::{Sample, Samples};
use self::watchdog::Watchdog;
use crate::{cpus, net};

/// The options of `interceptor-bench steal`.
#[derive(Args)]
pub(crate) struct Options {
    /// Number of measurements of each case [default: 7, or 3 with --quick]
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of each load in seconds [default: 1.2, or 0.4 with --quick]
    #[arg(long)]
    seconds: Option<f64>,
    /// Run less than two minutes instead of less than ten, with coarser results
    #[arg(long)]
    quick: bool,
    /// Also write the report with all samples to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Run only these cases, without the cases that they are compared with
    #[arg(long, value_delimiter = ',', value_name = "CASE")]
    only: Vec<Case>,
    /// Run only these loads
    #[arg(long, value_delimiter = ',', value_name = "LOAD")]
    loads: Vec<Load>,
}

/// The options with their defaults filled in.
struct Settings {
    rounds: usize,
    /// The length of each load.
    seconds: f64,
    /// The number of changes of the rule, for [`Load::Arming`].
    changes: usize,
    /// The time for which an idle daemon is observed, for [`Load::Idle`].
    watch: Duration,
    cases: Vec<Case>,
    loads: Vec<Load>,
}

/// The measurements of the daemon alone, outside the rounds. `None`: not measured, or failed.
#[derive(Default)]
struct DaemonAlone {
    arming: Option<arming::Arming>,
    held: Option<idle::Held>,
    idle: Option<idle::Idle>,
    errors: Vec<anyhow::Error>,
}

/// Builds the namespaces, runs every case in every round, and prints the report.
pub(crate) fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let settings = Settings::new(options)?;
    if let Some(why) = testbed::why_not() {
        bail!("this machine can't run the comparison: {why}");
    }
    if settings.has_daemon() {
        testbed::binary()
            .context("build the daemon first: `cargo build --release -p interceptor`")?;
    }
    let _watchdog = Watchdog::start()?;

    let machine = Facts::collect();
    let fixture = Fixture::build()?;
    let samples = settings.run_rounds(&fixture)?;
    let DaemonAlone { arming, held, idle, errors } = settings.run_daemon_alone(&fixture);

    let report = Report {
        command: repeat_with(),
        machine,
        load_average_after: facts::load_average(),
        elapsed_seconds: start.elapsed().as_secs_f64(),
        rounds: settings.rounds,
        seconds_per_load: settings.seconds,
        goals: goals::judge(&samples, arming.as_ref(), held.as_ref()),
        cases: settings.cases,
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

// === impl Settings ===

impl Settings {
    fn new(options: &Options) -> Result<Self> {
        fn all_unless_named<T: ValueEnum>(named: &[T]) -> Vec<T> {
            if named.is_empty() { T::value_variants() } else { named }.to_vec()
        }
        let (rounds, seconds, changes, watch) =
            if options.quick { (3, 0.4, 15, 3) } else { (7, 1.2, 50, 10) };
        let settings = Self {
            rounds: options.rounds.unwrap_or(rounds),
            seconds: options.seconds.unwrap_or(seconds),
            changes,
            watch: Duration::from_secs(watch),
            cases: all_unless_named(&options.only),
            loads: all_unless_named(&options.loads),
        };
        net::duration(settings.seconds)?;
        ensure!(settings.rounds > 0, "--rounds must be at least 1");
        Ok(settings)
    }

    fn has_daemon(&self) -> bool {
        self.cases.iter().any(|case| case.middle() == Middle::Daemon)
    }

    /// Measures every case in every round.
    fn run_rounds(&self, fixture: &Fixture) -> Result<Samples> {
        let is_redirect =
            |case: &Case| matches!(case.middle(), Middle::Haproxy { redirect: true, .. });
        if self.cases.iter().any(is_redirect) {
            fixture.redirect_peer()?;
        }
        let loads = self.loads.iter().copied();
        let loads = loads.filter(|load| matches!(load, Load::Conns | Load::Rr | Load::Bulk));
        let plan = Plan { loads: loads.collect(), seconds: self.seconds, cpus: cpus::allowed()? };
        let mut samples = Samples::default();
        if plan.loads.is_empty() {
            return Ok(samples);
        }
        for round in 0..self.rounds {
            for case in cases::rotated(&self.cases, round) {
                eprintln!("round {} of {}: {}", round + 1, self.rounds, case.name());
                let values = measure::case(fixture, case, &plan)
                    .with_context(|| format!("{} in round {}", case.name(), round + 1))?;
                for (metric, value) in values {
                    samples.push(Sample { round, case, metric, value });
                }
            }
        }
        Ok(samples)
    }

    /// Measures arming, idle and held. `--only haproxy-1t` leaves them out.
    ///
    /// A failure here must not discard the rounds that are already measured, so errors are a part
    /// of the result.
    fn run_daemon_alone(&self, fixture: &Fixture) -> DaemonAlone {
        let mut alone = DaemonAlone::default();
        let is_wanted = |load| self.has_daemon() && self.loads.contains(&load);
        if is_wanted(Load::Arming) {
            eprintln!("adding and removing a rule {} times", self.changes);
            let arming = arming::run(fixture, self.changes).context("arming");
            alone.arming = keep(arming, &mut alone.errors);
        }
        if is_wanted(Load::Held) {
            eprintln!("holding 8000 silent connections");
            let held = idle::held(fixture, 8_000).context("silent connections");
            alone.held = keep(held, &mut alone.errors);
        }
        if is_wanted(Load::Idle) {
            eprintln!("arming 100 idle workloads");
            let idle = idle::workloads(fixture, 100, self.watch).context("idle workloads");
            alone.idle = keep(idle, &mut alone.errors);
        }
        alone
    }
}

/// Returns a successful result. Prints an error at once, and keeps it for the end.
fn keep<T>(result: Result<T>, errors: &mut Vec<anyhow::Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            eprintln!("{error:#}");
            errors.push(error);
            None
        }
    }
}

/// The command line that repeats this run.
fn repeat_with() -> String {
    let args: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo xtask bench {}", args.join(" "))
}
