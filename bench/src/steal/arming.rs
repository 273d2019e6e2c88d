//! Measures the time from a change of the rule to the first connection that follows it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::cases::Path;
use super::fixture::{APP, Fixture, LAPTOP};
use crate::histogram::percentile;
use crate::load;

/// Maximum time for a change to take effect.
const GIVE_UP: Duration = Duration::from_secs(10);
/// Time between two connections, which leaves CPU time to the daemon.
const PAUSE: Duration = Duration::from_micros(500);

/// The times of all changes.
#[derive(Debug, Serialize)]
pub(crate) struct Arming {
    pub(crate) changes: usize,
    pub(crate) on: Times,
    pub(crate) off: Times,
}

/// The times of all changes of one kind, in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Times {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    samples_ms: Vec<f64>,
}

impl Times {
    fn of(samples_ms: Vec<f64>) -> Result<Self> {
        let p50_ms = percentile(&samples_ms, 50.0).context("no samples")?;
        let p99_ms = percentile(&samples_ms, 99.0).context("no samples")?;
        Ok(Self { p50_ms, p99_ms, samples_ms })
    }
}

/// Adds and removes the rule `changes` times, while a client keeps connecting.
pub(crate) fn run(fixture: &Fixture, changes: usize) -> Result<Arming> {
    let daemon = fixture.daemon(&fixture.disarmed())?;
    let (armed, disarmed) = (fixture.armed(), fixture.disarmed());
    let (mut on, mut off) = (Vec::with_capacity(changes), Vec::with_capacity(changes));
    wait_for(fixture, APP)?;
    for _ in 0..changes {
        for (workloads, who, times) in [(&armed, LAPTOP, &mut on), (&disarmed, APP, &mut off)] {
            let start = Instant::now();
            daemon.rewrite_workloads(workloads)?;
            let answered = wait_for(fixture, who)?;
            times.push(answered.duration_since(start).as_secs_f64() * 1e3);
        }
    }
    Ok(Arming { changes, on: Times::of(on)?, off: Times::of(off)? })
}

/// Connects until server `who` answers, and returns the time of that answer.
fn wait_for(fixture: &Fixture, who: u8) -> Result<Instant> {
    let (to, _) = fixture.path(Path::Redirected);
    fixture.in_client(|| {
        let start = Instant::now();
        while start.elapsed() < GIVE_UP {
            // No connection may fail while the rule changes, so an error is not retried.
            if load::exchange(to).context("a connection during a change of the rule")? == who {
                return Ok(Instant::now());
            }
            std::thread::sleep(PAUSE);
        }
        bail!("server {who} did not answer within {GIVE_UP:?} of a change of the rule")
    })
}
