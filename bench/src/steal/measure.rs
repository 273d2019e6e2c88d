//! One case in one round: the loads one after the other, and what the relay's CPU had to do for each.

use anyhow::{Result, ensure};
use serde::de::DeserializeOwned;

use super::cases::{Case, Load};
use super::ground::{Ground, Relay};
use super::process;
use super::samples::Metric;
use crate::load::{bulk, conns, rr};
use crate::usage::Cpu;
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

/// A load's report, and the CPU seconds that others spent meanwhile.
struct Outcome<T> {
    report: T,
    /// The relay, if there is one.
    relay: Option<f64>,
    servers: f64,
}

impl<T> Outcome<T> {
    /// Adds what each of `count` units cost the relay, and what it cost everybody.
    fn price(
        &self,
        client: Cpu,
        count: f64,
        [own, all]: [Metric; 2],
        values: &mut Vec<(Metric, f64)>,
    ) {
        if count > 0.0 {
            values.extend(self.relay.map(|relay| (own, relay / count)));
            values.push((
                all,
                (client.total() + self.servers + self.relay.unwrap_or_default()) / count,
            ));
        }
    }
}

impl Run<'_> {
    fn conns(&self, values: &mut Vec<(Metric, f64)>) -> Result<()> {
        let outcome: Outcome<conns::Report> = self.load(&["conns"])?;
        let report = &outcome.report;
        self.honest(&report.served_by)?;
        values.push((Metric::ConnsPerSecond, report.per_second));
        values.push((Metric::ConnsP50Us, report.latency.p50_us()));
        values.push((Metric::ConnsP99Us, report.latency.p99_us()));
        values.push((Metric::ConnsFailed, report.failures.values().sum::<u64>() as f64));
        let prices = [Metric::CpuUsPerConn, Metric::AllCpuUsPerConn];
        outcome.price(report.cpu, report.completed as f64 / 1e6, prices, values);
        Ok(())
    }

    fn rr(&self, values: &mut Vec<(Metric, f64)>) -> Result<()> {
        let report = self.load::<rr::Report>(&["rr", "--size", "64"])?.report;
        self.honest(&report.served_by)?;
        values.push((Metric::RrP50Us, report.latency.p50_us()));
        values.push((Metric::RrP99Us, report.latency.p99_us()));

        // Everybody on one CPU. The last: the first has more of the machine's own work.
        let Some(&cpu) = self.plan.cpus.last() else { return Ok(()) };
        self.ground.pin(self.relay, &[cpu])?;
        let outcome = self.load::<rr::Report>(&["rr", "--size", "64", "--cpu", &cpu.to_string()]);
        self.ground.pin(self.relay, &self.plan.cpus)?;
        let outcome = outcome?;
        let report = &outcome.report;
        self.honest(&report.served_by)?;
        values.push((Metric::RrPinnedP50Us, report.latency.p50_us()));
        values.push((Metric::RrPinnedP99Us, report.latency.p99_us()));
        let prices = [Metric::CpuUsPerRequest, Metric::AllCpuUsPerRequest];
        outcome.price(report.cpu, report.requests as f64 / 1e6, prices, values);
        Ok(())
    }

    fn bulk(&self, values: &mut Vec<(Metric, f64)>) -> Result<()> {
        let one = (Metric::Bulk1Gbit, [Metric::CpuPerGib1, Metric::AllCpuPerGib1]);
        let eight = (Metric::Bulk8Gbit, [Metric::CpuPerGib8, Metric::AllCpuPerGib8]);
        for (streams, (gbit, prices)) in [("1", one), ("8", eight)] {
            let outcome: Outcome<bulk::Report> = self.load(&["bulk", "--streams", streams])?;
            let report = &outcome.report;
            self.honest(&report.served_by)?;
            values.push((gbit, report.gbit_per_second));
            outcome.price(report.cpu, report.bytes as f64 / GIB, prices, values);
        }
        Ok(())
    }

    fn load<T: DeserializeOwned>(&self, args: &[&str]) -> Result<Outcome<T>> {
        let (to, _) = self.ground.path(self.case.path());
        let (to, seconds) = (to.to_string(), self.plan.seconds.to_string());
        let mut all = args.to_vec();
        all.extend(["--to", &to, "--seconds", &seconds]);
        let pid = self.relay.pid().filter(|_| self.case.relays());
        let relay_cpu = || pid.map(process::cpu_seconds).transpose();
        let (relay, servers) = (relay_cpu()?, self.ground.servers_cpu()?);
        let report = self.ground.load(&all)?;
        Ok(Outcome {
            report,
            relay: relay_cpu()?.zip(relay).map(|(after, before)| after - before),
            servers: self.ground.servers_cpu()? - servers,
        })
    }

    /// A path that leads elsewhere is fast for nothing.
    fn honest(&self, served_by: &ServedBy) -> Result<()> {
        let (_, id) = self.ground.path(self.case.path());
        let strangers: u64 =
            served_by.iter().filter(|(who, _)| **who != id).map(|(_, count)| count).sum();
        ensure!(
            strangers == 0,
            "{}: server {id} should have answered, but it was {served_by:?}",
            self.case.name()
        );
        Ok(())
    }
}
