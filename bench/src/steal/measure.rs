//! One case in one round: the loads one after the other, and what the relay's CPU had to do for each.

use anyhow::{Result, ensure};

use super::cases::{Case, Load};
use super::ground::{Ground, Relay};
use super::process;
use super::samples::Metric;
use crate::load::{bulk, conns, rr};
use crate::wire::ServedBy;

/// How long, what, and on which CPUs.
pub(crate) struct Plan {
    pub(crate) loads: Vec<Load>,
    pub(crate) seconds: f64,
    pub(crate) cpus: Vec<usize>,
}

const GIB: f64 = (1u64 << 30) as f64;

/// Starts what the case needs, measures, and ends it again: no case sees anything of another.
pub(crate) fn case(ground: &Ground, case: Case, plan: &Plan) -> Result<Vec<(Metric, f64)>> {
    let relay = ground.start(case)?;
    let run = Run { ground, relay: &relay, case, plan };
    let mut values = Vec::new();
    for load in &plan.loads {
        match load {
            Load::Conns => run.conns(&mut values)?,
            Load::Rr => run.rr(&mut values)?,
            Load::Bulk => run.bulk(&mut values)?,
            Load::Arming | Load::Idle | Load::Held => {}
        }
    }
    Ok(values)
}

struct Run<'a> {
    ground: &'a Ground,
    relay: &'a Relay,
    case: Case,
    plan: &'a Plan,
}

impl Run<'_> {
    fn conns(&self, values: &mut Vec<(Metric, f64)>) -> Result<()> {
        let (report, cpu): (conns::Report, _) = self.load(&["conns"])?;
        self.honest(&report.served_by)?;
        values.push((Metric::ConnsPerSecond, report.per_second));
        values.push((Metric::ConnsP50Us, report.latency.p50_us()));
        values.push((Metric::ConnsP99Us, report.latency.p99_us()));
        values.push((Metric::ConnsFailed, report.failures.values().sum::<u64>() as f64));
        if let Some(cpu) = cpu {
            values.push((Metric::CpuUsPerConn, cpu * 1e6 / report.completed.max(1) as f64));
        }
        Ok(())
    }

    fn rr(&self, values: &mut Vec<(Metric, f64)>) -> Result<()> {
        let (report, _): (rr::Report, _) = self.load(&["rr", "--size", "64"])?;
        self.honest(&report.served_by)?;
        values.push((Metric::RrP50Us, report.latency.p50_us()));
        values.push((Metric::RrP99Us, report.latency.p99_us()));

        // Everybody on one CPU. The last: the first has more of the machine's own work.
        let Some(&cpu) = self.plan.cpus.last() else { return Ok(()) };
        self.ground.pin(self.relay, &[cpu])?;
        let report: Result<(rr::Report, _)> = self.load(&["rr", "--size", "64", "--cpu", &cpu.to_string()]);
        self.ground.pin(self.relay, &self.plan.cpus)?;
        let (report, relay_cpu) = report?;
        self.honest(&report.served_by)?;
        values.push((Metric::RrPinnedP50Us, report.latency.p50_us()));
        values.push((Metric::RrPinnedP99Us, report.latency.p99_us()));
        if let Some(relay_cpu) = relay_cpu {
            values.push((Metric::CpuUsPerRequest, relay_cpu * 1e6 / report.requests.max(1) as f64));
        }
        Ok(())
    }

    fn bulk(&self, values: &mut Vec<(Metric, f64)>) -> Result<()> {
        for (streams, gbit, per_gib) in
            [("1", Metric::Bulk1Gbit, Metric::CpuPerGib1), ("8", Metric::Bulk8Gbit, Metric::CpuPerGib8)]
        {
            let (report, cpu): (bulk::Report, _) = self.load(&["bulk", "--streams", streams])?;
            self.honest(&report.served_by)?;
            values.push((gbit, report.gbit_per_second));
            if let Some(cpu) = cpu {
                values.push((per_gib, cpu / (report.bytes as f64 / GIB)));
            }
        }
        Ok(())
    }

    /// Runs a load, and gives the CPU seconds that a relay spent meanwhile.
    fn load<T: serde::de::DeserializeOwned>(&self, args: &[&str]) -> Result<(T, Option<f64>)> {
        let (to, _) = self.ground.path(self.case.path());
        let (to, seconds) = (to.to_string(), self.plan.seconds.to_string());
        let mut all = args.to_vec();
        all.extend(["--to", &to, "--seconds", &seconds]);
        let pid = self.relay.pid().filter(|_| self.case.relays());
        let before = pid.map(process::cpu_seconds).transpose()?;
        let report = self.ground.load(&all)?;
        let after = pid.map(process::cpu_seconds).transpose()?;
        Ok((report, after.zip(before).map(|(after, before)| after - before)))
    }

    /// A path that leads elsewhere is fast for nothing.
    fn honest(&self, served_by: &ServedBy) -> Result<()> {
        let (_, id) = self.ground.path(self.case.path());
        let strangers: u64 = served_by.iter().filter(|(who, _)| **who != id).map(|(_, count)| count).sum();
        ensure!(
            strangers == 0,
            "{}: server {id} should have answered, but it was {served_by:?}",
            self.case.name()
        );
        Ok(())
    }
}
