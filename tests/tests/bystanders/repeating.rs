//! Clients that repeat a request when the connection was closed before it was processed, as those
//! of Go, Java, Node and curl do.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use h2::{Reason, client};
use http::Request;
use interceptor_tests::{DEBUG_HEADER, TIMEOUT};
use parking_lot::Mutex;
use testbed::{Namespace, read_message};
use tokio::{net, time::timeout};

/// Maximum number of connections for one request.
const MAXIMUM_ATTEMPTS: u64 = 5;

/// A request's answer: the name of the server, and how often the request was repeated.
pub(crate) type Answered = (String, u64);

/// A client of HTTP/1 with one connection at a time.
pub(crate) struct Http1 {
    host: Namespace,
    to: SocketAddr,
    /// Number of requests of each connection.
    maximum: u64,
    connection: Option<Kept<BufReader<TcpStream>>>,
}

/// A client of HTTP/2 with one connection at a time for all its requests.
pub(crate) struct Http2 {
    host: Namespace,
    to: SocketAddr,
    /// Number of requests of each connection.
    maximum: u64,
    connection: Mutex<Option<Kept<client::SendRequest<Bytes>>>>,
}

/// A connection, and the number of its requests.
struct Kept<C> {
    connection: C,
    requests: u64,
}

/// What became of a request of HTTP/2.
enum Sent {
    Answered(String),
    /// The server has not processed it, and says so.
    Unprocessed,
}

// === impl Http1 ===

impl Http1 {
    /// A client that opens another connection after so many requests.
    pub(crate) fn new(host: &Namespace, to: impl Into<SocketAddr>, maximum: u64) -> Self {
        Self { host: host.clone(), to: to.into(), maximum, connection: None }
    }

    /// Makes a request. It is repeated if a connection that has served before ends before the first
    /// byte of the response.
    pub(crate) fn get(&mut self, path: &str, is_debug: bool) -> Result<Answered> {
        let field = if is_debug { DEBUG_HEADER } else { "x-user: other" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: web\r\n{field}\r\n\r\n");
        for repeated in 0..MAXIMUM_ATTEMPTS {
            let kept = self.connection.take().filter(|kept| kept.requests < self.maximum);
            let requests = kept.as_ref().map_or(0, |kept| kept.requests);
            let has_served = requests > 0;
            let mut connection = match kept {
                Some(kept) => kept.connection,
                None => self.connect()?,
            };
            let sent = connection.get_mut().write_all(request.as_bytes());
            let first = sent.and_then(|()| connection.fill_buf().map(|bytes| !bytes.is_empty()));
            match first {
                Ok(true) => {}
                Ok(false) if has_served => continue,
                Ok(false) => bail!("a new connection is closed before the response"),
                Err(error) if has_served && is_closed(&error) => continue,
                Err(error) => return Err(error).context("before the response"),
            }
            let body = read_message(&mut connection).context("in the response")?;
            let body = String::from_utf8(body.context("no response")?)?;
            self.connection = Some(Kept { connection, requests: requests + 1 });
            return Ok((server(&body, path)?, repeated));
        }
        bail!("closed {MAXIMUM_ATTEMPTS} times")
    }

    fn connect(&self) -> Result<BufReader<TcpStream>> {
        let stream = self.host.run(|| TcpStream::connect_timeout(&self.to, TIMEOUT))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(BufReader::new(stream))
    }
}

// === impl Http2 ===

impl Http2 {
    /// A client that opens another connection after so many requests.
    pub(crate) fn new(host: &Namespace, to: impl Into<SocketAddr>, maximum: u64) -> Self {
        Self { host: host.clone(), to: to.into(), maximum, connection: Mutex::default() }
    }

    /// Makes a request. It is repeated if the server says that it has not processed it, or if it
    /// could not be sent.
    pub(crate) async fn get(&self, path: &str, is_debug: bool) -> Result<Answered> {
        for repeated in 0..MAXIMUM_ATTEMPTS {
            // Not held over the handshake: a request of another task may connect, too.
            let sender = match self.kept() {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            let sent = timeout(TIMEOUT, send(sender, path, is_debug)).await;
            match sent.context("no answer in time")?? {
                Sent::Answered(server) => return Ok((server, repeated)),
                Sent::Unprocessed => drop(self.connection.lock().take()),
            }
        }
        bail!("closed {MAXIMUM_ATTEMPTS} times")
    }

    fn kept(&self) -> Option<client::SendRequest<Bytes>> {
        let mut connection = self.connection.lock();
        let kept = connection.as_mut()?;
        kept.requests += 1;
        let sender = kept.connection.clone();
        if kept.requests == self.maximum {
            // Its streams in progress go on.
            connection.take();
        }
        Some(sender)
    }

    async fn connect(&self) -> Result<client::SendRequest<Bytes>> {
        let stream = self.host.run(|| TcpStream::connect_timeout(&self.to, TIMEOUT))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let (sender, connection) = client::handshake(net::TcpStream::from_std(stream)?).await?;
        // Its error is that of its requests.
        tokio::spawn(async { drop(connection.await) });
        *self.connection.lock() = Some(Kept { connection: sender.clone(), requests: 1 });
        Ok(sender)
    }
}

async fn send(sender: client::SendRequest<Bytes>, path: &str, is_debug: bool) -> Result<Sent> {
    let (name, other) = ("x-user", "other");
    let request = Request::builder()
        .uri(format!("http://web{path}"))
        .header(name, if is_debug { "debug" } else { other })
        .body(())?;
    // Fails if the connection takes no further stream: nothing was sent.
    let Ok(mut sender) = sender.ready().await else { return Ok(Sent::Unprocessed) };
    let Ok((response, _)) = sender.send_request(request, true) else {
        return Ok(Sent::Unprocessed);
    };
    let response = match response.await {
        Ok(response) => response,
        Err(error) if is_unprocessed(&error) => return Ok(Sent::Unprocessed),
        Err(error) => return Err(error).context("before the response"),
    };
    let mut content = response.into_body();
    let mut body = BytesMut::new();
    while let Some(piece) = content.data().await {
        let piece = piece.context("in the response")?;
        content.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    Ok(Sent::Answered(server(std::str::from_utf8(&body)?, path)?))
}

/// Whether the server says that it has not processed the stream.
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), ConnectionReset | BrokenPipe)
}

/// The name of the server, from a body with the name, the path and maybe spaces.
fn server(body: &str, path: &str) -> Result<String> {
    let (server, rest) = body.trim_end().split_once(' ').context("a body of another kind")?;
    ensure!(rest == path, "{body:?} for {path}");
    Ok(server.to_owned())
}
