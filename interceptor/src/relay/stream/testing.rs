//! Pairs of connected streams for tests.

use std::{
    future::poll_fn,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::Stream;

/// What a pair of connected streams is made of.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Sockets on loopback.
    Tcp,
    /// Two ends in memory.
    Memory,
}

impl Kind {
    /// Two streams that are connected with each other.
    pub async fn pair(self) -> (Stream, Stream) {
        match self {
            Self::Memory => Stream::pair(),
            Self::Tcp => {
                let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let listener = TcpListener::bind(any_port).await.expect("listen");
                let to = listener.local_addr().expect("address");
                let (connected, accepted) = tokio::join!(TcpStream::connect(to), listener.accept());
                (Stream::Tcp(connected.expect("connect")), Stream::Tcp(accepted.expect("accept").0))
            }
        }
    }
}

/// Reads until the peer's FIN.
pub async fn read_to_end(stream: &Stream) -> Vec<u8> {
    let mut all = Vec::new();
    while stream.read_more(&mut all).await.expect("read") > 0 {}
    all
}

/// Writes until the send queue is full. Returns the number of bytes.
pub async fn fill(stream: &Stream) -> usize {
    let mut sent = 0;
    let chunk = vec![7; 1 << 20];
    let full = Duration::from_millis(300);
    while let Ok(n) = timeout(full, poll_fn(|cx| stream.poll_write(cx, &chunk))).await {
        sent += n.expect("write");
        assert!(sent < 64 << 20, "nothing holds the writer back");
    }
    sent
}
