//! The loads. Each returns one report that becomes one line of JSON.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use crate::net;
use crate::wire::{self, MESSAGE};

pub(crate) mod bulk;
pub(crate) mod conns;
pub(crate) mod idle;
pub(crate) mod rr;

/// One call on a new connection; the number of the server that answered.
pub(crate) fn call(to: SocketAddr) -> io::Result<u8> {
    let mut stream = net::connect(to)?;
    stream.write_all(&[wire::ONCE; MESSAGE])?;
    let mut answer = [0; MESSAGE];
    stream.read_exact(&mut answer)?;
    Ok(answer[1])
}
