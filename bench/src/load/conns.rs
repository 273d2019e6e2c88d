//! The load `conns`: connect, 64 bytes out, 64 bytes back, close by the server.
//!
//! The server closes first, so it keeps TIME_WAIT and the client's port is free again at once.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde::{Deserialize, Serialize};
use socket2::Socket;

use crate::histogram::{Histogram, Latency};
use crate::net;
use crate::usage::{self, Cpu};
use crate::wire::{self, MESSAGE, ServedBy};

/// Maximum time for one connection. It is longer than the first retransmission of a lost SYN.
const GIVE_UP: Duration = Duration::from_secs(3);

/// The results of the load.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    load: String,
    parallel: usize,
    seconds: f64,
    pub(crate) completed: u64,
    pub(crate) per_second: f64,
    pub(crate) failures: BTreeMap<String, u64>,
    /// The time from `connect` to the server's close, which follows its answer.
    #[serde(flatten)]
    pub(crate) latency: Latency,
    pub(crate) served_by: ServedBy,
    pub(crate) cpu: Cpu,
}

/// A connection in progress.
struct Conn {
    socket: Socket,
    start: Instant,
    sent: bool,
    answer: [u8; MESSAGE],
    got: usize,
}

/// Runs the load for `length`. Failed connections are counted in the report.
pub(crate) fn run(to: SocketAddr, parallel: usize, length: Duration) -> Result<Report> {
    if parallel == 0 {
        bail!("--parallel must be at least 1");
    }
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut conns: Vec<Option<Conn>> = (0..parallel).map(|_| None).collect();
    let mut events = vec![EpollEvent::empty(); parallel.min(1024)];
    let mut failures: BTreeMap<String, u64> = BTreeMap::new();
    let mut served_by = ServedBy::new();
    let mut histogram = Histogram::new();
    let start = Instant::now();
    let mut last_sweep = start;
    for (slot, place) in conns.iter_mut().enumerate() {
        *place = open(&epoll, to, slot, &mut failures)?;
    }
    while start.elapsed() < length {
        let count = epoll.wait(&mut events, EpollTimeout::from(100u8)).context("epoll_wait")?;
        for event in &events[..count] {
            let slot = event.data() as usize;
            let Some(conn) = conns[slot].as_mut() else { continue };
            match conn.turn() {
                Ok(false) => continue,
                Ok(true) => {
                    histogram.record(conn.start.elapsed().as_nanos() as u64);
                    *served_by.entry(conn.answer[1]).or_default() += 1;
                }
                Err(error) => *failures.entry(net::errno_name(&error)).or_default() += 1,
            }
            // Close the old connection before the new one opens.
            conns[slot] = None;
            conns[slot] = open(&epoll, to, slot, &mut failures)?;
        }
        if last_sweep.elapsed() > Duration::from_millis(200) {
            last_sweep = Instant::now();
            for (slot, place) in conns.iter_mut().enumerate() {
                match place {
                    Some(conn) if conn.start.elapsed() <= GIVE_UP => continue,
                    Some(_) => *failures.entry("ETIMEDOUT".into()).or_default() += 1,
                    None => {}
                }
                *place = None;
                *place = open(&epoll, to, slot, &mut failures)?;
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let completed = served_by.values().sum();
    Ok(Report {
        load: "conns".into(),
        parallel,
        seconds,
        completed,
        per_second: completed as f64 / seconds,
        failures,
        latency: histogram.latency(),
        served_by,
        cpu: usage::of_self()?,
    })
}

/// Starts a connection.
///
/// If it fails at once, the failure is counted, and the next sweep tries again. Trying again at
/// once would become a busy loop when all ports are in use.
fn open(
    epoll: &Epoll,
    to: SocketAddr,
    slot: usize,
    failures: &mut BTreeMap<String, u64>,
) -> Result<Option<Conn>> {
    let socket = match net::start_connect(to) {
        Ok(socket) => socket,
        Err(error) => {
            *failures.entry(net::errno_name(&error)).or_default() += 1;
            return Ok(None);
        }
    };
    // With edge-triggered events for both directions, a connection needs only one epoll_ctl.
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
    epoll.add(&socket, EpollEvent::new(flags, slot as u64))?;
    Ok(Some(Conn { socket, start: Instant::now(), sent: false, answer: [0; MESSAGE], got: 0 }))
}

impl Conn {
    /// Writes and reads as far as the socket allows. True when the server has answered and closed.
    fn turn(&mut self) -> io::Result<bool> {
        if !self.sent {
            match (&self.socket).write(&[wire::ONCE; MESSAGE]) {
                Ok(MESSAGE) => self.sent = true,
                Ok(_) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                // A failed connect shows here. The socket has the reason.
                Err(error) => return Err(self.socket.take_error()?.unwrap_or(error)),
            }
        }
        loop {
            let mut beyond = [0; 1];
            let whole = self.got == MESSAGE;
            let into = if whole { &mut beyond[..] } else { &mut self.answer[self.got..] };
            match (&self.socket).read(into) {
                Ok(0) if whole => return Ok(true),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) if whole => return Err(Errno::EPROTO.into()),
                Ok(size) => self.got += size,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}
