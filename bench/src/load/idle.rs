//! The load `idle`: many silent connections, to measure the memory of a relay that holds them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::net;
use crate::usage::{self, Cpu};
use crate::wire::{self, MESSAGE, ServedBy};

/// The report, which is printed when all connections are open.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    load: String,
    connections: usize,
    ready: bool,
    /// The time for opening all connections.
    pub(crate) seconds: f64,
    pub(crate) served_by: ServedBy,
    cpu: Cpu,
}

/// The open connections and their report.
pub(crate) struct Idle {
    report: Report,
    connections: Vec<TcpStream>,
}

/// Opens the connections one after the other. Each exchanges one message.
pub(crate) fn open(to: SocketAddr, connections: usize) -> Result<Idle> {
    let start = Instant::now();
    let mut served_by = ServedBy::new();
    let mut open = Vec::with_capacity(connections);
    for number in 0..connections {
        let mut stream =
            net::connect(to).with_context(|| format!("connection {number} to {to}"))?;
        let mut message = [wire::ECHO; MESSAGE];
        stream.write_all(&message)?;
        stream
            .read_exact(&mut message)
            .with_context(|| format!("answer on connection {number}"))?;
        *served_by.entry(message[1]).or_default() += 1;
        open.push(stream);
    }
    let report = Report {
        load: "idle".into(),
        connections,
        ready: true,
        seconds: start.elapsed().as_secs_f64(),
        served_by,
        cpu: usage::of_self()?,
    };
    Ok(Idle { report, connections: open })
}

impl Idle {
    pub(crate) fn report(&self) -> &Report {
        &self.report
    }

    /// Keeps the connections open until stdin closes.
    pub(crate) fn hold(self) -> Result<()> {
        io::copy(&mut io::stdin().lock(), &mut io::sink()).context("reading stdin")?;
        drop(self.connections);
        Ok(())
    }
}
