//! From a change of the rule to the first connection that goes the new way.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::cases::Path;
use super::ground::{APP, Ground, LAPTOP};
use crate::histogram::percentile;
use crate::load;

/// A change that has no effect for so long never will.
const GIVE_UP: Duration = Duration::from_secs(10);
/// Between two calls, so that the caller does not take the CPU that the daemon needs.
const PAUSE: Duration = Duration::from_micros(500);

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Arming {
    pub(crate) changes: usize,
    pub(crate) on: Times,
    pub(crate) off: Times,
}

/// Milliseconds, of many changes of one kind.
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

/// Adds and removes the rule `changes` times, while a client calls all the time.
pub(crate) fn run(ground: &Ground, changes: usize) -> Result<Arming> {
    let daemon = ground.daemon(&ground.disarmed())?;
    let (armed, disarmed) = (ground.armed(), ground.disarmed());
    let (mut on, mut off) = (Vec::with_capacity(changes), Vec::with_capacity(changes));
    wait_for(ground, APP)?;
    for _ in 0..changes {
        for (workloads, who, times) in [(&armed, LAPTOP, &mut on), (&disarmed, APP, &mut off)] {
            let start = Instant::now();
            daemon.rewrite_workloads(workloads)?;
            let answered = wait_for(ground, who)?;
            times.push(answered.duration_since(start).as_secs_f64() * 1e3);
        }
    }
    Ok(Arming { changes, on: Times::of(on)?, off: Times::of(off)? })
}

/// Calls until server `who` answers, and gives the time of that answer.
fn wait_for(ground: &Ground, who: u8) -> Result<Instant> {
    let (to, _) = ground.path(Path::Redirected);
    ground.in_client(|| {
        let start = Instant::now();
        while start.elapsed() < GIVE_UP {
            // A call that fails is a broken promise, not a thing to retry.
            if load::call(to).context("a call while the rule changes")? == who {
                return Ok(Instant::now());
            }
            std::thread::sleep(PAUSE);
        }
        bail!("server {who} did not answer within {GIVE_UP:?} of a change of the rule")
    })
}
