//! The load `bulk`: throughput, counted at the receiver and timed by its clock.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde::{Deserialize, Serialize};

use crate::net::{self, monotonic_ns};
use crate::usage::{self, Cpu};
use crate::wire::{self, Receipt, ServedBy};

const CHUNK: usize = 128 * 1024;

/// The results of the load.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    load: String,
    streams: usize,
    reverse: bool,
    seconds: f64,
    pub(crate) bytes: u64,
    pub(crate) gbit_per_second: f64,
    pub(crate) served_by: ServedBy,
    pub(crate) cpu: Cpu,
}

/// Runs the load for `length`. All streams share one thread, so that more streams do not get more
/// CPUs.
pub(crate) fn run(
    to: SocketAddr,
    length: Duration,
    streams: usize,
    reverse: bool,
) -> Result<Report> {
    if streams == 0 {
        bail!("--streams must be at least 1");
    }
    let mut connections = Vec::with_capacity(streams);
    for number in 0..streams {
        connections.push(net::connect(to).with_context(|| format!("stream {number} to {to}"))?);
    }
    let receipts =
        if reverse { receive(&mut connections, length)? } else { send(&mut connections, length)? };

    let mut served_by = ServedBy::new();
    for receipt in &receipts {
        *served_by.entry(receipt.id).or_default() += 1;
    }
    let (bytes, seconds) = goodput(&receipts);
    Ok(Report {
        load: "bulk".into(),
        streams,
        reverse,
        seconds,
        bytes,
        gbit_per_second: if seconds > 0.0 { bytes as f64 * 8.0 / seconds / 1e9 } else { 0.0 },
        served_by,
        cpu: usage::of_self()?,
    })
}

/// The sum of all bytes, and the seconds from the first arrival on any stream to the last.
fn goodput(receipts: &[Receipt]) -> (u64, f64) {
    let bytes = receipts.iter().map(|receipt| receipt.bytes).sum();
    let first = receipts.iter().map(|receipt| receipt.first_ns).min().unwrap_or_default();
    let last = receipts.iter().map(|receipt| receipt.last_ns).max().unwrap_or_default();
    (bytes, last.saturating_sub(first) as f64 / 1e9)
}

fn send(connections: &mut [TcpStream], length: Duration) -> Result<Vec<Receipt>> {
    let chunk = vec![wire::SINK; CHUNK];
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (slot, connection) in connections.iter().enumerate() {
        connection.set_nonblocking(true)?;
        epoll.add(connection, EpollEvent::new(EpollFlags::EPOLLOUT, slot as u64))?;
    }
    let start = Instant::now();
    let mut events = vec![EpollEvent::empty(); 64];
    while start.elapsed() < length {
        let count = epoll.wait(&mut events, EpollTimeout::from(100u8))?;
        for event in &events[..count] {
            match connections[event.data() as usize].write(&chunk) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("sending"),
            }
        }
    }
    // Bytes in flight belong to the measurement, which ends with the last byte at the receiver.
    for connection in connections.iter() {
        connection.shutdown(Shutdown::Write)?;
        connection.set_nonblocking(false)?;
    }
    let receipt = |connection: &mut TcpStream| {
        let mut wire = [0; Receipt::SIZE];
        connection.read_exact(&mut wire).context("waiting for the server's receipt")?;
        Ok(Receipt::decode(&wire))
    };
    connections.iter_mut().map(receipt).collect()
}

fn receive(connections: &mut [TcpStream], length: Duration) -> Result<Vec<Receipt>> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (slot, connection) in connections.iter_mut().enumerate() {
        connection.write_all(&[wire::FLOOD])?;
        connection.set_nonblocking(true)?;
        epoll.add(&*connection, EpollEvent::new(EpollFlags::EPOLLIN, slot as u64))?;
    }
    let mut receipts =
        vec![Receipt { id: 0, bytes: 0, first_ns: u64::MAX, last_ns: 0 }; connections.len()];
    let mut buffer = vec![0; 2 * CHUNK];
    let mut events = vec![EpollEvent::empty(); 64];
    let start = Instant::now();
    while start.elapsed() < length {
        let count = epoll.wait(&mut events, EpollTimeout::from(100u8))?;
        for event in &events[..count] {
            let slot = event.data() as usize;
            let size = match connections[slot].read(&mut buffer) {
                Ok(0) => bail!("the server closed a stream"),
                Ok(size) => size,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error).context("receiving"),
            };
            let now = monotonic_ns();
            let receipt = &mut receipts[slot];
            receipt.id = buffer[0];
            receipt.first_ns = receipt.first_ns.min(now);
            receipt.last_ns = now;
            receipt.bytes += size as u64;
        }
    }
    if receipts.iter().any(|receipt| receipt.bytes == 0) {
        bail!("a stream received nothing");
    }
    Ok(receipts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goodput_covers_all_streams() {
        let receipt = |bytes, first_ns, last_ns| Receipt { id: 0, bytes, first_ns, last_ns };
        let (bytes, seconds) = goodput(&[
            receipt(100, 1_000_000_000, 2_000_000_000),
            receipt(50, 1_500_000_000, 3_000_000_000),
        ]);
        assert_eq!(bytes, 150);
        assert!((seconds - 2.0).abs() < 1e-9);
        assert_eq!(goodput(&[]), (0, 0.0));
    }
}
