//! Measures the cost of the programs that show clients' addresses to apps.
//!
//! While a rule is in force, these programs run at each `accept` and `getpeername` of every process
//! on the host. The benchmark adds and removes a rule in turns, and with it the programs. It times
//! calls in batches, and the fastest of many batches counts, because other work on the machine only
//! adds time.

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

/// Calls of `getpeername` in a batch.
const NAMES: u32 = 2_000;
/// Calls of `accept` in a batch.
const ACCEPTS: u32 = 100;

/// The options of `interceptor-bench accept`.
#[derive(Args)]
pub(crate) struct Options {
    /// Number of measurements of each case with the programs and without
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Number of batches of each case in a round
    #[arg(long, default_value_t = 200)]
    batches: u32,
}

/// A system call and the kind of connection that it is measured with.
struct Case {
    name: &'static str,
    listener: TcpListener,
    /// The client's address.
    from: IpAddr,
    /// The call is `accept`, or else `getpeername`.
    accepts: bool,
}

/// Measures all cases and prints the results.
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
        "this host does not preserve clients' addresses"
    );

    // The calls run in another network namespace than the redirected one.
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
                testbed::wait_until("the programs' links", Duration::from_secs(10), || {
                    let cgroup =
                        daemon.bpf_objects().is_ok_and(|held| links(&held) == 3 * attached);
                    if cgroup { Ok(()) } else { Err("other links are there") }
                })?;
                for (case, samples) in cases.iter().zip(&mut samples) {
                    samples[attached].push(case.measure(options.batches)?);
                }
            }
        }
        println!(
            "{:45} {:>10} {:>10} {:>10}",
            "ns per call, median of the rounds", "without", "with", "difference"
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

    /// The time per call in the fastest batch, in nanoseconds.
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
        let _client = self.connect()?;
        let (accepted, _) = self.listener.accept()?;
        let started = Instant::now();
        for _ in 0..NAMES {
            black_box(accepted.peer_addr()?);
        }
        Ok(started.elapsed())
    }

    fn accept(&self) -> Result<Duration> {
        let _clients = (0..ACCEPTS).map(|_| self.connect()).collect::<Result<Vec<_>>>()?;
        let mut accepted = Vec::with_capacity(ACCEPTS as usize);
        let started = Instant::now();
        for _ in 0..ACCEPTS {
            accepted.push(self.listener.accept()?);
        }
        Ok(started.elapsed())
    }

    /// Opens a client's connection to the listener.
    fn connect(&self) -> Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        // A reset leaves no TIME_WAIT, in which this number of connections would use up all ports.
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
