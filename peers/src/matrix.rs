//! Runs cells on both lanes, and judges them.

use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use parking_lot::Mutex;

use crate::{
    cell::Cell,
    compare::Expected,
    known::Known,
    lane::Lane,
    peer::{Runs, Server},
};

/// Silence after which the servers' records count as complete.
const QUIET: Duration = Duration::from_millis(500);

/// As [`QUIET`], while no server has a record and both ways agree.
const QUIET_WITHOUT_RECORD: Duration = Duration::from_millis(120);

/// Direct calls of a cell that differs: each of their results is how it may be.
const DIRECT_CALLS: usize = 4;

/// As [`DIRECT_CALLS`], for a cell of which only one call through the daemon differs.
const DIRECT_CALLS_IF_UNSTEADY: usize = 12;

/// Further calls through the daemon that have to agree, after one that differs.
const CALLS_TO_AGREE: usize = 4;

/// What became of a cell.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// All sides saw the same as in a direct call.
    Same,
    /// The first call through the daemon differed, and some of the next ones did.
    Unsteady(String),
    /// The first call through the daemon differed, and none of the next ones did.
    Repeated(String),
    /// Calls through the daemon differ from all direct ones.
    Differs(String),
    /// It could not be tried.
    Failed(String),
}

// === impl Verdict ===

impl Verdict {
    /// What differed, or why the cell could not be tried.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Same => None,
            Self::Unsteady(text)
            | Self::Repeated(text)
            | Self::Differs(text)
            | Self::Failed(text) => Some(text),
        }
    }
}

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct How<'k> {
    /// The cells of which a first difference is enough.
    pub known: &'k [Known],
    /// Whether to print what all sides saw.
    pub show: bool,
}

/// Runs all cells. Servers work side by side; each has one cell at a time.
pub fn run<'o>(
    direct: &Lane,
    relayed: &Lane,
    places: &[&'static Server],
    cells: &[Cell<'o>],
    how: How<'_>,
) -> Vec<(Cell<'o>, Verdict, Duration)> {
    let mut sorted = cells.to_vec();
    // The long ones first, so that none is left alone at the end.
    sorted.sort_by_key(|cell| std::cmp::Reverse(cell.oddity.least_time()));
    let queues = places.iter().map(|server| {
        sorted.iter().filter(|cell| cell.server.name == server.name).copied().collect()
    });
    let queues: Vec<Mutex<VecDeque<Cell<'o>>>> = queues.map(Mutex::new).collect();
    let verdicts = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (place, server) in places.iter().enumerate() {
            // Places of one server share the queue of the first one.
            let first = places.iter().position(|other| other.name == server.name);
            let queue = &queues[first.unwrap_or(place)];
            let verdicts = &verdicts;
            scope.spawn(move || {
                loop {
                    let Some(cell) = queue.lock().pop_front() else { return };
                    let started = Instant::now();
                    let verdict = judge(direct, relayed, place, &cell, how)
                        .unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")));
                    verdicts.lock().push((cell, verdict, started.elapsed()));
                }
            });
        }
    });
    verdicts.into_inner()
}

fn judge(
    direct: &Lane,
    relayed: &Lane,
    place: usize,
    cell: &Cell<'_>,
    how: How<'_>,
) -> Result<Verdict> {
    let is_vain = |expected: &Expected| cell.server.runs == Runs::Recorder && expected.misses();
    let (mut expected, mut seen) = both(direct, relayed, place, cell)?;
    for _ in 1..DIRECT_CALLS {
        if is_vain(&expected) {
            // The machine was busy, or the oddity is wrong.
            (expected, seen) = both(direct, relayed, place, cell)?;
        }
    }
    if how.show {
        println!("{}\ndirectly: {expected}\nrelayed: {seen}", cell.name());
    }
    ensure!(
        !is_vain(&expected),
        "a step waits in vain even directly: mend the oddity, `--show` shows what happens",
    );
    let Some(difference) = expected.difference(&seen) else { return Ok(Verdict::Same) };
    if how.known.iter().any(|known| known.fits(cell)) {
        return Ok(Verdict::Differs(difference));
    }
    let mut possible = vec![expected];
    for _ in 1..DIRECT_CALLS {
        possible.push(alone(direct, place, cell, true)?);
        if possible.contains(&seen) {
            return Ok(Verdict::Same);
        }
    }
    let mut again = Vec::new();
    for _ in 0..CALLS_TO_AGREE {
        again.push(alone(relayed, place, cell, false)?);
        if again.iter().all(|again| !possible.contains(again)) {
            return Ok(Verdict::Differs(difference));
        }
    }
    // A result that is rare directly is as rare through the daemon.
    for _ in DIRECT_CALLS..DIRECT_CALLS_IF_UNSTEADY {
        possible.push(alone(direct, place, cell, true)?);
        if possible.contains(&seen) {
            return Ok(Verdict::Same);
        }
    }
    Ok(match again.iter().all(|again| possible.contains(again)) {
        true => Verdict::Repeated(difference),
        false => Verdict::Unsteady(difference),
    })
}

/// Makes the calls of a cell both ways at once.
fn both(
    direct: &Lane,
    relayed: &Lane,
    place: usize,
    cell: &Cell<'_>,
) -> Result<(Expected, Expected)> {
    let (directly, through) = thread::scope(|scope| {
        let other = scope.spawn(|| relayed.call(place, cell));
        let directly = direct.call(place, cell);
        (directly, other.join().map_err(|_| anyhow!("a thread panicked")))
    });
    let (directly, through) = (directly?, through??);
    let see = || {
        (
            Expected::from_direct(direct.seen(place, &directly), cell.oddity, cell.any_order()),
            Expected::from_relayed(relayed.seen(place, &through), cell.oddity, cell.any_order()),
        )
    };
    Ok(settled(see, |(direct, relayed)| direct == relayed, |(direct, _)| direct.is_empty()))
}

/// Makes the calls of a cell one way.
fn alone(lane: &Lane, place: usize, cell: &Cell<'_>, is_direct: bool) -> Result<Expected> {
    let client = lane.call(place, cell)?;
    let see = || {
        let seen = lane.seen(place, &client);
        match is_direct {
            true => Expected::from_direct(seen, cell.oddity, cell.any_order()),
            false => Expected::from_relayed(seen, cell.oddity, cell.any_order()),
        }
    };
    Ok(settled(see, |_| false, Expected::is_empty))
}

/// Looks until the records are as hoped for, or have not changed for a while.
fn settled<T: PartialEq>(
    see: impl Fn() -> T,
    is_good: impl Fn(&T) -> bool,
    is_empty: impl Fn(&T) -> bool,
) -> T {
    let mut seen = see();
    let mut since = Instant::now();
    loop {
        let good = is_good(&seen);
        let quiet = if good && is_empty(&seen) { QUIET_WITHOUT_RECORD } else { QUIET };
        if (good && !is_empty(&seen)) || since.elapsed() > quiet {
            return seen;
        }
        thread::sleep(Duration::from_millis(5));
        let now = see();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
}
