//! What the user typed, and which part of the program answers it.

use std::net::SocketAddr;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::{accept, cpus, http, load, net, serve, steal};

/// Measures interceptor's data path side by side with its peers.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The server for every load; ends on SIGTERM
    Serve(Serve),
    /// One load against a running `serve`; prints one line of JSON
    #[command(subcommand)]
    Load(Load),
    /// The whole comparison, in network namespaces of its own; needs root
    Steal(steal::Options),
    /// Requests on a port with a condition, beside haproxy and nginx that route on the same header; needs root
    Http(http::Options),
    /// What `accept` and `getpeername` cost everybody while the app of some pod is shown its callers; needs root
    Accept(accept::Options),
    /// Waits for the end of a run and removes what it left
    #[command(hide = true)]
    SweepAfter { pid: u32 },
}

#[derive(Args)]
struct Serve {
    /// Address to listen on
    #[arg(long)]
    listen: SocketAddr,
    /// Threads that accept and answer
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Number that every answer carries, so that a load knows which server it reached
    #[arg(long, default_value_t = 0)]
    id: u8,
    /// Run on this CPU only
    #[arg(long)]
    cpu: Option<usize>,
}

/// What every load needs to know.
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
    /// Latency of request and response on connections that stay open
    Rr {
        #[command(flatten)]
        target: Target,
        /// Bytes of each message
        #[arg(long, default_value_t = 64)]
        size: usize,
        /// How long
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        /// Connections with one request under way on each
        #[arg(long, default_value_t = 1)]
        connections: usize,
    },
    /// New connections per second: connect, 64 bytes out, 64 bytes back, the server closes
    Conns {
        #[command(flatten)]
        target: Target,
        /// Connections under way at once
        #[arg(long, default_value_t = 8)]
        parallel: usize,
        /// How long
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// Bytes per second, counted where they arrive
    Bulk {
        #[command(flatten)]
        target: Target,
        /// How long
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        /// Connections that send at once
        #[arg(long, default_value_t = 1)]
        streams: usize,
        /// The server sends
        #[arg(long)]
        reverse: bool,
    },
    /// Opens connections and holds them until stdin closes
    Idle {
        #[command(flatten)]
        target: Target,
        /// How many
        #[arg(long, default_value_t = 9000)]
        connections: usize,
    },
}

/// Parses the command line and does what it says.
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
