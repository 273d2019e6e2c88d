//! Measures one case in one round: runs the loads in turn, with the CPU time that each costs.

use anyhow::{Result, ensure};
use serde::de::DeserializeOwned;

use super::cases::{Case, Load};
use super::fixture::{Fixture, Relay};
use super::process;
use super::samples::Metric;
use crate::load::{bulk, conns, rr};
use crate::usage::Cpu;
use crate::wire::ServedBy;

/// The settings of all measurements.
pub(crate) struct Plan {
    pub(crate) loads: Vec<Load>,
    /// The length of each load.
    pub(crate) seconds: f64,
    /// The CPUs that this process may use.
    pub(crate) cpus: Vec<usize>,
}

const GIB: f64 = (1u64 << 30) as f64;

/// Starts the relay of the case, measures the loads, and stops the relay again.
pub(crate) fn case(fixture: &Fixture, case: Case, plan: &Plan) -> Result<Vec<(Metric, f64)>> {
    let relay = fixture.start(case)?;
    let run = Run { fixture, relay: &relay, case, plan };
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
    fixture: &'a Fixture,
    relay: &'a Relay,
    case: Case,
    plan: &'a Plan,
}

/// A load's report, and the CPU time of the other processes meanwhile.
struct Outcome<T> {
    report: T,
    /// CPU seconds of the relay. `None` for a case without a relay.
    relay: Option<f64>,
    /// CPU seconds of all servers.
    servers: f64,
}

impl<T> Outcome<T> {
    /// Adds the CPU time per unit of the relay (`own`) and of all processes (`all`).
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
        self.check_server(&report.served_by)?;
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
        self.check_server(&report.served_by)?;
        values.push((Metric::RrP50Us, report.latency.p50_us()));
        values.push((Metric::RrP99Us, report.latency.p99_us()));

        // Pin all processes to one CPU. Take the last one, because the first has more other work.
        let Some(&cpu) = self.plan.cpus.last() else { return Ok(()) };
        self.fixture.pin(self.relay, &[cpu])?;
        let outcome = self.load::<rr::Report>(&["rr", "--size", "64", "--cpu", &cpu.to_string()]);
        self.fixture.pin(self.relay, &self.plan.cpus)?;
        let outcome = outcome?;
        let report = &outcome.report;
        self.check_server(&report.served_by)?;
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
            self.check_server(&report.served_by)?;
            values.push((gbit, report.gbit_per_second));
            outcome.price(report.cpu, report.bytes as f64 / GIB, prices, values);
        }
        Ok(())
    }

    fn load<T: DeserializeOwned>(&self, args: &[&str]) -> Result<Outcome<T>> {
        let (to, _) = self.fixture.path(self.case.path());
        let (to, seconds) = (to.to_string(), self.plan.seconds.to_string());
        let mut all = args.to_vec();
        all.extend(["--to", &to, "--seconds", &seconds]);
        let pid = self.relay.pid().filter(|_| self.case.relays());
        let relay_cpu = || pid.map(process::cpu_seconds).transpose();
        let (relay, servers) = (relay_cpu()?, self.fixture.servers_cpu()?);
        let report = self.fixture.load(&all)?;
        Ok(Outcome {
            report,
            relay: relay_cpu()?.zip(relay).map(|(after, before)| after - before),
            servers: self.fixture.servers_cpu()? - servers,
        })
    }

    /// Checks that only the expected server answered.
    fn check_server(&self, served_by: &ServedBy) -> Result<()> {
        let (_, id) = self.fixture.path(self.case.path());
        let others: u64 =
            served_by.iter().filter(|(who, _)| **who != id).map(|(_, count)| count).sum();
        ensure!(
            others == 0,
            "{}: server {id} should have answered, but the answers are {served_by:?}",
            self.case.name()
        );
        Ok(())
    }
}
