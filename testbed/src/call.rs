//! Being a client: ask, and learn who answered.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{Namespace, http};

/// How long a caller waits for the connection, and then again for the answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// What a client sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// A line, for [`TcpService::tagged`](crate::TcpService::tagged).
    #[default]
    Line,
    /// A GET, for [`TcpService::http`](crate::TcpService::http), or an nginx that answers in the same words.
    Http,
}

/// What a server said about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The first word: who it is.
    pub tag: String,
    /// Who the server thinks that its client is.
    pub peer: Option<SocketAddr>,
    /// Which address the server thinks was called.
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

/// One question on a connection of its own.
pub fn call(
    netns: &Namespace,
    to: impl Into<SocketAddr>,
    protocol: Protocol,
) -> io::Result<Answer> {
    Connection::open(netns, to, protocol)?.ask()
}

/// A connection that stays open and can be asked again and again.
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
        let stream = TcpStream::connect_timeout(&to, PATIENCE)
            .map_err(|error| io::Error::new(error.kind(), format!("connect: {error}")))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), protocol })
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self) -> io::Result<Answer> {
        let request = match self.protocol {
            Protocol::Line => "who are you?\n",
            Protocol::Http => "GET / HTTP/1.1\r\nHost: web\r\n\r\n",
        };
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.answer()
    }

    /// Waits for an answer without asking: the greeting of a server that speaks first.
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

    /// The stream itself. Answers that came already may be buffered.
    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}
