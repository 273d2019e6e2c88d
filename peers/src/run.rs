//! A run of the matrix from beginning to end.

use std::{path::Path, thread, time::Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    cell::Cell,
    known::Known,
    lane::Lane,
    matrix::{self, Verdict},
    oddity::Oddity,
    peer::{How, Runtime, SERVERS},
    report::{self, Report},
    runtimes::Runtimes,
};

/// Maximum number of failed cells that get a second chance. More of them are no accident.
const MAXIMUM_SECOND_ROUND: usize = 25;

/// How many of the slowest cells a report names.
const SLOWEST: usize = 10;

/// Which cells to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only the covering set.
    pub covering: bool,
    /// Only cells whose name has all of these words.
    pub words: Vec<String>,
    /// Leave out cells whose runtime is missing, instead of failing.
    pub allow_missing: bool,
    /// Print what all sides saw of each cell.
    pub show: bool,
}

/// The names of the cells that a run would have, without running them.
///
/// # Errors
/// The corpus makes no sense.
pub fn list(options: &Options) -> Result<Vec<String>> {
    let oddities = Oddity::all(&sources().join("oddities"))?;
    let cells = selected(Cell::all(&oddities)?, options);
    Ok(cells.iter().map(Cell::name).collect())
}

/// Runs the matrix.
///
/// # Errors
/// The corpus makes no sense, a runtime is missing, or a peer can't be started. Cells that differ
/// are in the report.
pub fn run(options: &Options) -> Result<Report> {
    let oddities = Oddity::all(&sources().join("oddities"))?;
    let all = Cell::all(&oddities)?;
    let known = Known::read(&sources().join("known.toml"), &all)?;
    let mut cells = selected(all, options);
    if cells.is_empty() {
        bail!("no cell has all of these words in its name");
    }

    let runtimes = Runtimes::from_env();
    let mut report = Report::default();
    leave_out_missing(&mut cells, &runtimes, &mut report);
    if !report.missing.is_empty() && !options.allow_missing {
        bail!("missing: {}; `cargo xtask setup test` installs it", report.missing.join("; "));
    }

    let servers: Vec<_> = SERVERS
        .iter()
        .filter(|server| cells.iter().any(|cell| cell.server.name == server.name))
        .collect();
    let mut clients: Vec<Runtime> = cells
        .iter()
        .filter_map(|cell| match cell.client.how {
            How::Jobs(runtime) => Some(runtime),
            How::Socket | How::Curl | How::H2load => None,
        })
        .collect();
    clients.sort_unstable();
    clients.dedup();
    let (direct, relayed) = thread::scope(|scope| {
        let start = |name, with_daemon| {
            let (runtimes, servers, clients) = (&runtimes, &servers, &clients);
            scope.spawn(move || Lane::start(name, runtimes, servers, clients, with_daemon))
        };
        let lanes = [start("peers-direct", false), start("peers-relayed", true)];
        let [direct, relayed] =
            lanes.map(|lane| lane.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))));
        Ok::<_, anyhow::Error>((direct?, relayed.context("with the daemon")?))
    })?;

    let started = Instant::now();
    let how = matrix::How { known: &known, show: options.show };
    let places = Lane::places(&servers);
    let mut verdicts = matrix::run(&direct, &relayed, &places, &cells, how);
    let fails = |(cell, verdict, _): &(Cell<'_>, Verdict, _)| report::fails(cell, verdict, &known);
    let failed: Vec<_> = verdicts.iter().filter(|one| fails(one)).map(|one| one.0).collect();
    if failed.len() <= MAXIMUM_SECOND_ROUND {
        // By themselves: the others may have kept the processors busy.
        let second = matrix::run(&direct, &relayed, &places, &failed, how);
        let (first, kept) = verdicts.into_iter().partition::<Vec<_>, _>(|one| fails(one));
        verdicts = kept;
        verdicts.extend(second.into_iter().map(|(cell, verdict, time)| {
            let before = first.iter().find(|(other, ..)| other.name() == cell.name());
            let text = before.and_then(|(_, verdict, _)| verdict.text()).unwrap_or_default();
            let verdict = match verdict {
                Verdict::Same => Verdict::Repeated(text.to_owned()),
                other => other,
            };
            (cell, verdict, time)
        }));
    }
    report.time = started.elapsed();
    for (cell, verdict, time) in verdicts {
        report.add(&cell, &verdict, &known);
        report.slowest.push((cell.name(), time));
    }
    report.failures.sort();
    report.slowest.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    report.slowest.truncate(SLOWEST);
    Ok(report)
}

fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn selected<'o>(all: Vec<Cell<'o>>, options: &Options) -> Vec<Cell<'o>> {
    let mut cells = if options.covering { Cell::covering(&all) } else { all };
    cells.retain(|cell| {
        let name = cell.name();
        options.words.iter().all(|word| name.contains(word))
    });
    cells
}

/// Leaves cells out whose runtime is missing, and reports each such runtime once.
fn leave_out_missing(cells: &mut Vec<Cell<'_>>, runtimes: &Runtimes, report: &mut Report) {
    let needs = |cell: &Cell<'_>| [cell.client.needs(), cell.server.needs()];
    let mut needed: Vec<Runtime> = cells.iter().flat_map(needs).flatten().collect();
    needed.sort_unstable();
    needed.dedup();
    let missing: Vec<(Runtime, String)> = needed
        .into_iter()
        .filter_map(|runtime| Some((runtime, runtimes.why_not(runtime)?)))
        .collect();
    let before = cells.len();
    cells.retain(|cell| {
        let is_missing = |need: &Runtime| missing.iter().any(|(runtime, _)| runtime == need);
        !needs(cell).iter().flatten().any(is_missing)
    });
    report.left_out = before - cells.len();
    let describe = |(runtime, why): &(Runtime, String)| format!("{}: {why}", runtime.name());
    report.missing = missing.iter().map(describe).collect();
}
