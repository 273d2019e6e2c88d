//! The TCP sockets of a network namespace, as `/proc/net/tcp` and `/proc/net/tcp6` list them.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use crate::Namespace;

/// A TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// The local address.
    pub local: SocketAddr,
    /// The remote address; unspecified for a listener.
    pub remote: SocketAddr,
    /// The state.
    pub state: TcpState,
    /// Bytes that were written and that the other side has not acknowledged.
    pub unacknowledged: u64,
}

/// The state of a TCP socket, as far as tests tell states apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 9293")]
pub enum TcpState {
    Established,
    TimeWait,
    Listen,
    /// Any other state, by the kernel's number (`include/net/tcp_states.h`).
    Other(u8),
}

/// The TCP sockets of a namespace, for IPv4 and IPv6.
pub fn tcp_sockets(netns: &Namespace) -> Vec<TcpSocket> {
    netns.run(tcp_sockets_here)
}

/// The TCP sockets of the calling thread's namespace.
pub(crate) fn tcp_sockets_here() -> Vec<TcpSocket> {
    // /proc/net would be the namespace of the main thread.
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
        .map(|table| fs::read_to_string(table).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(socket).collect()
}

/// Parses a line: slot, local address, remote address, state, queues (`<send>:<receive>`), and
/// more.
fn socket(line: &str) -> Option<TcpSocket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, remote, state, queues, ..] = fields[..] else { return None };
    let state = match u8::from_str_radix(state, 16).ok()? {
        1 => TcpState::Established,
        6 => TcpState::TimeWait,
        10 => TcpState::Listen,
        other => TcpState::Other(other),
    };
    let (unacknowledged, _) = queues.split_once(':')?;
    Some(TcpSocket {
        local: address(local)?,
        remote: address(remote)?,
        state,
        unacknowledged: u64::from_str_radix(unacknowledged, 16).ok()?,
    })
}

/// Parses an address: words of four bytes in native byte order, as hex numbers, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words = ip.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let ip: IpAddr = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => bytes.into(),
        Err(_) => <[u8; 16]>::try_from(bytes.as_slice()).ok()?.into(),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_parsed() {
        let ip = u32::from_ne_bytes([10, 99, 1, 2]);
        let line = format!("   3: {ip:08X}:1F90 {ip:08X}:C350 01 0000002A:00000000 00:00000000 0");
        let socket = socket(&line).expect("a socket");
        assert_eq!(socket.local, ([10, 99, 1, 2], 8080).into());
        assert_eq!(socket.remote, ([10, 99, 1, 2], 50_000).into());
        assert_eq!((socket.state, socket.unacknowledged), (TcpState::Established, 42));
    }
}
