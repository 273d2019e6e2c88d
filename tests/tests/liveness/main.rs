//! Liveness from end to end: a side that has vanished is found out, and one that pauses lives.
//!
//! The tests of a minute and more are ignored by default: `--ignored` runs them.

#![forbid(unsafe_code)]

mod bystanders;
mod targets;

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Result;
use interceptor_tests::Fixture;
use testbed::{Daemon, Namespace};

/// Time after which a silent side of a target's connection is dead, and how late that may be found.
const DEAD_AFTER: Duration = Duration::from_secs(30);
const LATE: Duration = Duration::from_secs(15);

/// Opens a connection from inside a namespace.
fn connect(netns: &Namespace, to: impl Into<SocketAddr>) -> Result<TcpStream> {
    let to = to.into();
    let stream = netns.run(|| TcpStream::connect(to))?;
    stream.set_read_timeout(Some(DEAD_AFTER + LATE))?;
    Ok(stream)
}

/// Says a line, so that the relay knows that the client does not speak HTTP.
fn say(mut stream: &TcpStream, line: &str) -> Result<()> {
    Ok(stream.write_all(line.as_bytes())?)
}

/// The number of connections to the target that ended because this side was silent.
fn silent(daemon: &Daemon, side: &str) -> f64 {
    daemon.metric("interceptor_silent_connections_total", &[("side", side)])
}

/// A rule for a port of the pod that takes no connection of these tests.
fn rule_for_others(f: &Fixture<'_>, port: u16) -> String {
    format!("{port} -> {}:3000 when request.path == '/debug'", f.laptop.ip4())
}
