//! The command line, and the dispatch to the benchmarks.

use std::net::SocketAddr;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::{accept, cpus, http, load, net, serve, steal};

/// Benchmarks of interceptor's data path in comparison with other proxies
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server for all loads until SIGTERM
    Serve(Serve),
    /// Run one load against a running `serve` and print one line of JSON
    #[command(subcommand)]
    Load(Load),
    /// Compare redirected connections with haproxy and iptables in network namespaces (needs root)
    Steal(steal::Options),
    /// Compare requests on a port with a condition with haproxy and nginx (needs root)
    Http(http::Options),
    /// Measure the cost of clients' addresses for `accept` and `getpeername` (needs root)
    Accept(accept::Options),
    /// Wait for the end of a run and remove its namespaces
    #[command(hide = true)]
    SweepAfter { pid: u32 },
}

#[derive(Args)]
struct Serve {
    /// Address to listen on
    #[arg(long)]
    listen: SocketAddr,
    /// Number of threads that serve connections
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Number in every answer, by which a load knows the server
    #[arg(long, default_value_t = 0)]
    id: u8,
    /// Run on this CPU only
    #[arg(long)]
    cpu: Option<usize>,
}

/// The options of every load.
#[derive(Args)]
struct Target {
    /// Address of the server
    #[arg(long)]
    to: SocketAddr,
    /// Run on this CPU only
    #[arg(long)]
    cpu: Option<usize>,
}

#[derive(Subcommand)]
enum Load {
    /// Measure the latency of request and response on connections that stay open
    Rr {
        #[command(flatten)]
        target: Target,
        /// Size of each message in bytes
        #[arg(long, default_value_t = 64)]
        size: usize,
        /// Length of the load in seconds
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        /// Number of connections, each with one outstanding request
        #[arg(long, default_value_t = 1)]
        connections: usize,
    },
    /// Measure new connections: connect, 64 bytes out, 64 bytes back, close by the server
    Conns {
        #[command(flatten)]
        target: Target,
        /// Number of concurrent connections
        #[arg(long, default_value_t = 8)]
        parallel: usize,
        /// Length of the load in seconds
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// Measure throughput at the receiver
    Bulk {
        #[command(flatten)]
        target: Target,
        /// Length of the load in seconds
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        /// Number of concurrent connections
        #[arg(long, default_value_t = 1)]
        streams: usize,
        /// Let the server send
        #[arg(long)]
        reverse: bool,
    },
    /// Open connections and hold them until stdin closes
    Idle {
        #[command(flatten)]
        target: Target,
        /// Number of connections
        #[arg(long, default_value_t = 9000)]
        connections: usize,
    },
}

/// Parses the command line and runs the command.
pub(crate) fn run() -> Result<()> {
    match Cli::parse().command {
        Command::Serve(Serve { listen, threads, id, cpu }) => {
            prepare(cpu)?;
            serve::run(listen, threads, id)
        }
        Command::Load(load) => run_load(load),
        Command::Steal(options) => steal::run(&options),
        Command::Http(options) => http::run(&options),
        Command::Accept(options) => accept::run(&options),
        Command::SweepAfter { pid } => steal::sweep_after(pid),
    }
}

fn run_load(load: Load) -> Result<()> {
    match load {
        Load::Rr { target, size, seconds, connections } => {
            prepare(target.cpu)?;
            print(&load::rr::run(target.to, size, net::duration(seconds)?, connections)?)
        }
        Load::Conns { target, parallel, seconds } => {
            prepare(target.cpu)?;
            print(&load::conns::run(target.to, parallel, net::duration(seconds)?)?)
        }
        Load::Bulk { target, seconds, streams, reverse } => {
            prepare(target.cpu)?;
            print(&load::bulk::run(target.to, net::duration(seconds)?, streams, reverse)?)
        }
        Load::Idle { target, connections } => {
            prepare(target.cpu)?;
            let idle = load::idle::open(target.to, connections)?;
            print(idle.report())?;
            idle.hold()
        }
    }
}

fn prepare(cpu: Option<usize>) -> Result<()> {
    net::raise_fd_limit()?;
    cpu.map_or(Ok(()), |cpu| cpus::pin_self(&[cpu]))
}

fn print(report: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(report)?);
    Ok(())
}
