//! What everybody on the host pays while the app of some pod is shown its callers: programs run at each `accept` and
//! `getpeername`, of whatever process.
//!
//! A rule is written and taken away in turns, and with it the programs. Calls are timed in batches, and of many batches
//! the fastest counts: what other work on the machine adds is never negative.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use socket2::{Domain, Socket, Type};
use testbed::{Daemon, Topology, why_not};

use crate::cpus;

/// Calls in a batch.
const NAMES: u32 = 2_000;
const ACCEPTS: u32 = 100;

/// What the user may choose.
#[derive(Args)]
pub(crate) struct Options {
    /// How often each case is measured with the programs and without
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Batches of a case in a round
    #[arg(long, default_value_t = 200)]
    batches: u32,
}

/// One kind of connection, and what is called.
struct Case {
    name: &'static str,
    listener: TcpListener,
    from: IpAddr,
    accepts: bool,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(why) = why_not() {
        anyhow::bail!("{why}");
    }
    let topology = Topology::new("accept")?;
    let (pod, bystander) = (topology.pod("web")?, topology.host("bystander")?);
    let idle = format!("workloads: [{{name: web, netns: {}}}]\n", pod.netns_path().display());
    let rule = testbed::workload(&pod, "8080 -> 192.0.2.1:1");
    let daemon = Daemon::start(&topology, &idle, &[])?;
    ensure!(
        daemon.state()?["caller_address"]["state"] == "kept",
        "callers' addresses are lost on this host"
    );

    // In another network namespace than the one that is redirected.
    bystander.run(|| -> Result<()> {
        cpus::pin_self(&cpus::allowed()?[..1])?;
        let (elsewhere, same) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST);
        let cases = [
            Case::new("getpeername, the peer is elsewhere", elsewhere, false)?,
            Case::new("getpeername, the peer has the same address", same, false)?,
            Case::new("accept, the peer is elsewhere", elsewhere, true)?,
            Case::new("accept, the peer has the same address", same, true)?,
        ];
        let mut samples = vec![[Vec::new(), Vec::new()]; cases.len()];
        for _ in 0..options.rounds {
            for (attached, workloads) in [(0, &idle), (1, &rule)] {
                daemon.rewrite_workloads(workloads)?;
                let wanted = if attached == 1 { "armed" } else { "idle" };
                daemon.wait_state(wanted, |state| state["workloads"][0]["state"] == wanted)?;
                // Given back a moment later.
                testbed::wait_until("programs as wanted", Duration::from_secs(10), || {
                    let cgroup =
                        daemon.bpf_objects().is_ok_and(|held| links(&held) == 3 * attached);
                    if cgroup { Ok(()) } else { Err("others") }
                })?;
                for (case, samples) in cases.iter().zip(&mut samples) {
                    samples[attached].push(case.measure(options.batches)?);
                }
            }
        }
        println!(
            "{:45} {:>10} {:>10} {:>10}",
            "ns a call, medians of rounds", "without", "with", "more"
        );
        for (case, [without, with]) in cases.iter().zip(&mut samples) {
            let more = without.iter().zip(&*with).map(|(without, with)| with - without);
            let more = median(&mut more.collect::<Vec<_>>());
            println!(
                "{:45} {:10.0} {:10.0} {:+10.0}",
                case.name,
                median(without),
                median(with),
                more
            );
        }
        Ok(())
    })
}

fn links(held: &[(testbed::BpfKind, u32)]) -> usize {
    held.iter().filter(|(kind, _)| *kind == testbed::BpfKind::Link).count()
}

impl Case {
    fn new(name: &'static str, from: Ipv4Addr, accepts: bool) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
        Ok(Self { name, listener, from: from.into(), accepts })
    }

    /// The fastest batch, in nanoseconds a call.
    fn measure(&self, batches: u32) -> Result<f64> {
        let mut fastest = f64::INFINITY;
        for _ in 0..batches {
            let took =
                if self.accepts { self.accept()? / ACCEPTS } else { self.getpeername()? / NAMES };
            fastest = fastest.min(took.as_secs_f64() * 1e9);
        }
        Ok(fastest)
    }

    fn getpeername(&self) -> Result<Duration> {
        let _caller = self.call()?;
        let (accepted, _) = self.listener.accept()?;
        let started = Instant::now();
        for _ in 0..NAMES {
            black_box(accepted.peer_addr()?);
        }
        Ok(started.elapsed())
    }

    fn accept(&self) -> Result<Duration> {
        let _callers = (0..ACCEPTS).map(|_| self.call()).collect::<Result<Vec<_>>>()?;
        let mut accepted = Vec::with_capacity(ACCEPTS as usize);
        let started = Instant::now();
        for _ in 0..ACCEPTS {
            accepted.push(self.listener.accept()?);
        }
        Ok(started.elapsed())
    }

    fn call(&self) -> Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        // No TIME_WAIT: there are many.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.bind(&SocketAddr::new(self.from, 0).into())?;
        socket.connect(&self.listener.local_addr()?.into())?;
        Ok(socket.into())
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
