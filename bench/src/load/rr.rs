//! The load `rr`: the latency of request and response on connections that stay open.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde::{Deserialize, Serialize};

use crate::histogram::{Histogram, Latency};
use crate::net;
use crate::usage::{self, Cpu};
use crate::wire::{self, ServedBy};

/// Messages on each connection before the measurement, which warm up caches, the congestion window
/// and the buffers of a relay.
const WARM_UP: usize = 50;

/// The results of the load.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    load: String,
    size: usize,
    connections: usize,
    seconds: f64,
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    #[serde(flatten)]
    pub(crate) latency: Latency,
    pub(crate) served_by: ServedBy,
    pub(crate) cpu: Cpu,
}

/// Runs the load for `length`.
pub(crate) fn run(
    to: SocketAddr,
    size: usize,
    length: Duration,
    connections: usize,
) -> Result<Report> {
    // The server writes its number into the second byte.
    if size < 2 || connections == 0 {
        bail!("--size must be at least 2 and --connections at least 1");
    }
    let mut served_by = ServedBy::new();
    let mut streams = Vec::with_capacity(connections);
    for number in 0..connections {
        let mut stream =
            net::connect(to).with_context(|| format!("connection {number} to {to}"))?;
        let mut message = vec![wire::ECHO; size];
        for round in 0..WARM_UP {
            stream.write_all(&message)?;
            stream.read_exact(&mut message)?;
            if round == 0 {
                *served_by.entry(message[1]).or_default() += 1;
            }
        }
        streams.push(stream);
    }

    let mut histogram = Histogram::new();
    let start = Instant::now();
    match streams.as_mut_slice() {
        // With one connection, blocking calls save the system call of epoll.
        [stream] => one(stream, size, length, &mut histogram)?,
        streams => many(streams, size, length, &mut histogram)?,
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(Report {
        load: "rr".into(),
        size,
        connections,
        seconds,
        requests: histogram.len(),
        per_second: histogram.len() as f64 / seconds,
        latency: histogram.latency(),
        served_by,
        cpu: usage::of_self()?,
    })
}

fn one(
    stream: &mut std::net::TcpStream,
    size: usize,
    length: Duration,
    histogram: &mut Histogram,
) -> Result<()> {
    let mut message = vec![wire::ECHO; size];
    let start = Instant::now();
    let mut now = start;
    while now.duration_since(start) < length {
        stream.write_all(&message)?;
        stream.read_exact(&mut message).context("waiting for an answer")?;
        let end = Instant::now();
        histogram.record(end.duration_since(now).as_nanos() as u64);
        now = end;
    }
    Ok(())
}

fn many(
    streams: &mut [std::net::TcpStream],
    size: usize,
    length: Duration,
    histogram: &mut Histogram,
) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut message = vec![wire::ECHO; size];
    // For each connection: the time of its request, and the missing bytes of the answer.
    let mut pending = Vec::with_capacity(streams.len());
    for (slot, stream) in streams.iter_mut().enumerate() {
        pending.push((Instant::now(), size));
        stream.write_all(&message)?;
        stream.set_nonblocking(true)?;
        epoll.add(&*stream, EpollEvent::new(EpollFlags::EPOLLIN, slot as u64))?;
    }
    let start = Instant::now();
    let mut last_answer = start;
    let mut events = vec![EpollEvent::empty(); 256];
    while start.elapsed() < length {
        let count = epoll.wait(&mut events, EpollTimeout::from(100u8))?;
        for event in &events[..count] {
            let slot = event.data() as usize;
            let (sent, missing) = &mut pending[slot];
            let got = match streams[slot].read(&mut message[..*missing]) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error).context("waiting for an answer"),
            };
            *missing -= got;
            if *missing == 0 {
                last_answer = Instant::now();
                histogram.record(last_answer.duration_since(*sent).as_nanos() as u64);
                (*sent, *missing) = (last_answer, size);
                // A message fits into an empty send buffer unless it is huge.
                streams[slot]
                    .write_all(&message)
                    .context("sending a request; is --size too large?")?;
            }
        }
        if last_answer.elapsed() > net::PATIENCE {
            bail!("no answer for {:?}", net::PATIENCE);
        }
    }
    Ok(())
}
