//! A client: asks a server, and learns which server answered.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{Namespace, http};

/// Maximum time that a client waits for the connection, and then for the answer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// What a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// One line and one line in answer: [`TcpService::tagged`](crate::TcpService::tagged).
    #[default]
    Line,
    /// HTTP/1.1 GET: [`TcpService::http`](crate::TcpService::http) or [`nginx`](crate::nginx()).
    Http,
}

/// A server's answer: its name, and the addresses that it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The first word: the server's name.
    pub tag: String,
    /// The client's address as the server sees it.
    pub peer: Option<SocketAddr>,
    /// The destination address as the server sees it.
    pub local: Option<SocketAddr>,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace();
        Self {
            tag: words.next().unwrap_or_default().to_owned(),
            peer: words.next().and_then(address),
            local: words.next().and_then(address),
        }
    }
}

/// Address and port; nginx puts no brackets around an IPv6 address.
fn address(word: &str) -> Option<SocketAddr> {
    word.parse().ok().or_else(|| {
        let (ip, port) = word.rsplit_once(':')?;
        Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
    })
}

/// One request on a connection of its own.
pub fn call(
    netns: &Namespace,
    to: impl Into<SocketAddr>,
    protocol: Protocol,
) -> io::Result<Answer> {
    Connection::open(netns, to, protocol)?.ask()
}

/// A connection that stays open for any number of requests.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    protocol: Protocol,
}

impl Connection {
    /// Connects from inside a namespace.
    pub fn open(
        netns: &Namespace,
        to: impl Into<SocketAddr>,
        protocol: Protocol,
    ) -> io::Result<Self> {
        let to = to.into();
        netns.run(|| Self::open_here(to, protocol))
    }

    /// Connects from the namespace of the calling thread.
    pub fn open_here(to: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, TIMEOUT)
            .map_err(|error| io::Error::new(error.kind(), format!("connect: {error}")))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { stream: BufReader::new(stream), protocol })
    }

    /// Sends a request and waits for the answer.
    pub fn ask(&mut self) -> io::Result<Answer> {
        let request = match self.protocol {
            Protocol::Line => "who are you?\n",
            Protocol::Http => "GET / HTTP/1.1\r\nHost: web\r\n\r\n",
        };
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.answer()
    }

    /// Waits for an answer without a request: the greeting of a server that speaks first.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let text = match self.protocol {
            Protocol::Line => {
                let mut line = String::new();
                self.stream.read_line(&mut line)?;
                line
            }
            Protocol::Http => {
                let body = http::read_message(&mut self.stream)?.unwrap_or_default();
                String::from_utf8_lossy(&body).into_owned()
            }
        };
        if text.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"));
        }
        Ok(Answer::parse(&text))
    }

    /// The stream itself. Bytes that have arrived already may be in this connection's buffer.
    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}
