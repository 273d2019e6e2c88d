//! Measures the cost of an idle daemon: with armed workloads, and with silent connections.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;
use testbed::Daemon;

use super::cases::Path;
use super::fixture::{Fixture, LAPTOP};
use super::process;
use crate::load::idle;

/// Time before a measurement, in which start-up work ends and buffers of silent connections shrink.
const SETTLE: Duration = Duration::from_secs(2);

/// Maximum time for arming all workloads.
const ARM: Duration = Duration::from_secs(30);

/// The cost of a daemon with many armed workloads and no traffic.
#[derive(Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) workloads: usize,
    /// The time from the start of the daemon until all workloads are active.
    pub(crate) seconds_to_arm: f64,
    pub(crate) seconds: f64,
    pub(crate) rss_mib: f64,
    pub(crate) cpu_percent: f64,
    pub(crate) wake_ups_per_second: f64,
}

/// The memory of a daemon that holds many silent connections.
#[derive(Debug, Serialize)]
pub(crate) struct Held {
    pub(crate) connections: u64,
    pub(crate) seconds_to_open: f64,
    pub(crate) rss_mib: f64,
    pub(crate) bytes_per_connection: f64,
}

/// Arms `workloads` pods and observes the daemon for `length`.
pub(crate) fn workloads(fixture: &Fixture, workloads: usize, length: Duration) -> Result<Idle> {
    let file = fixture.many(workloads)?;
    let start = Instant::now();
    let daemon = fixture.daemon(&file)?;
    wait_active(&daemon, workloads)?;
    let seconds_to_arm = start.elapsed().as_secs_f64();
    thread::sleep(SETTLE);

    let pid = daemon.pid();
    let (cpu, wake_ups) = (process::cpu_seconds(pid)?, process::wake_ups(pid)?);
    thread::sleep(length);
    let (cpu, wake_ups) = (process::cpu_seconds(pid)? - cpu, process::wake_ups(pid)? - wake_ups);
    let seconds = length.as_secs_f64();
    Ok(Idle {
        workloads,
        seconds_to_arm,
        seconds,
        rss_mib: mib(process::rss_bytes(pid)?),
        cpu_percent: cpu / seconds * 100.0,
        wake_ups_per_second: wake_ups as f64 / seconds,
    })
}

/// Waits until all workloads are active, which may take a while on a busy machine.
fn wait_active(daemon: &Daemon, workloads: usize) -> Result<()> {
    testbed::wait_until("all workloads to be active", ARM, || {
        let state = daemon.state()?;
        let mut active = 0;
        let mut other = None;
        for rules in state["workloads"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|one| one["rules"].as_array())
        {
            match rules.iter().find(|rule| rule["state"] != "active") {
                None => active += usize::from(!rules.is_empty()),
                Some(rule) => other = Some(rule["message"].clone()),
            }
        }
        if active == workloads {
            Ok(())
        } else {
            Err(anyhow!("{active} are active; one of the others: {other:?}"))
        }
    })
}

/// Opens `connections` through the daemon, and measures its memory before and after.
pub(crate) fn held(fixture: &Fixture, connections: usize) -> Result<Held> {
    let daemon = fixture.daemon(&fixture.armed())?;
    daemon.wait_active("web")?;
    let pid = daemon.pid();
    let before = process::rss_bytes(pid)?;

    let (to, _) = fixture.path(Path::Redirected);
    let args = ["idle", "--to", &to.to_string(), "--connections", &connections.to_string()];
    let mut load = Guard(fixture.spawn_load(&args)?);
    let stdout = load.0.stdout.take().context("the load's output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let report: idle::Report = serde_json::from_str(&line)
        .context("the load did not open its connections; see its message above")?;
    thread::sleep(SETTLE);

    let after = process::rss_bytes(pid)?;
    // Beyond its limit, the daemon leaves connections to the app.
    let stolen = report.served_by.get(&LAPTOP).copied().unwrap_or_default();
    ensure!(stolen > 0, "no connection was redirected: {:?}", report.served_by);
    Ok(Held {
        connections: stolen,
        seconds_to_open: report.seconds,
        rss_mib: mib(after),
        bytes_per_connection: after.saturating_sub(before) as f64 / stolen as f64,
    })
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Ends the load when it is dropped, also after an error.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // The end of the process closes its connections.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
