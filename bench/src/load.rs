//! The loads. Each returns a report, which is printed as one line of JSON.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use crate::net;
use crate::wire::{self, MESSAGE};

pub(crate) mod bulk;
pub(crate) mod conns;
pub(crate) mod idle;
pub(crate) mod rr;

/// Exchanges one message on a new connection. Returns the number of the server that answered.
pub(crate) fn exchange(to: SocketAddr) -> io::Result<u8> {
    let mut stream = net::connect(to)?;
    stream.write_all(&[wire::ONCE; MESSAGE])?;
    let mut answer = [0; MESSAGE];
    stream.read_exact(&mut answer)?;
    Ok(answer[1])
}
