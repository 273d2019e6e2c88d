//! HTTP/1 servers that tell what they got, byte for byte, and a caller that says what a test wants said.

use std::{
    io::{self, BufRead, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use testbed::{Namespace, TcpService};

/// A server that answers each request with the very bytes of it, and keeps what it got.
///
/// The request target asks for more: `/chunked`, `/interim` (103 first), `/close`, `/until-close`, `/switch` (101 if
/// asked to, then an echo), `/refuse` (403 to anything), `/half` (dies in the middle of its answer), `/silence` (no answer).
#[derive(Debug)]
pub struct HttpEchoServer {
    service: TcpService,
    got: Arc<Mutex<Vec<u8>>>,
}

/// A connection of a caller.
#[derive(Debug)]
pub struct HttpClient {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
}

/// One response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// As in the status line.
    pub status: u16,
    /// The head as it came, without the empty line.
    pub head: String,
    /// Who answered: `X-Served-By`.
    pub tag: String,
    /// Without chunks.
    pub body: Vec<u8>,
    /// All of it, as it came.
    pub raw: Vec<u8>,
}

/// What a server of plain transfers needs to know of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestHead {
    /// Whether it brings something, rather than asking for it.
    pub is_put: bool,
    /// Of what it brings, in bytes; without it, chunks.
    pub length: Option<u64>,
}

/// Long enough for anything but a server that does not answer.
const TIMEOUT: Duration = Duration::from_secs(10);

// === impl RequestHead ===

impl RequestHead {
    /// Reads one, up to its empty line; none if the caller has ended.
    ///
    /// # Errors
    /// Of the connection, or for a length that is no number.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let (mut head, mut line) = (Self::default(), String::new());
        while line != "\r\n" {
            line.clear();
            if from.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            head.is_put |= line.starts_with("PUT ");
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                head.length = Some(value.trim().parse().map_err(io::Error::other)?);
            }
        }
        Ok(Some(head))
    }
}

// === impl HttpEchoServer ===

impl HttpEchoServer {
    /// Starts one that calls itself `tag`.
    pub fn start(netns: &Namespace, addr: impl Into<SocketAddr>, tag: &str) -> Result<Self> {
        let got = Arc::new(Mutex::new(Vec::new()));
        let (tag, heard) = (tag.to_owned(), Arc::clone(&got));
        let service = TcpService::start(netns, addr, move |stream, traffic| {
            let mut requests = BufReader::new(Heard { stream: stream.try_clone()?, heard: &heard });
            while let Some(request) = read_message(&mut requests)? {
                traffic.count_request();
                if !answer(&stream, &tag, &request, &mut requests)? {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(Self { service, got })
    }

    /// All bytes that came, on all connections.
    pub fn got(&self) -> Vec<u8> {
        self.got.lock().clone()
    }

    /// Connections, requests, and its end.
    pub fn service(&self) -> &TcpService {
        &self.service
    }

    /// Takes no further connections; those that are open go on.
    pub fn stop_listening(&mut self) {
        self.service.stop_listening();
    }
}

/// A stream whose bytes are kept.
struct Heard<'a> {
    stream: TcpStream,
    heard: &'a Mutex<Vec<u8>>,
}

impl io::Read for Heard<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(buffer)?;
        self.heard.lock().extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

/// Whether the connection goes on.
fn answer(
    mut stream: &TcpStream,
    tag: &str,
    request: &[u8],
    requests: &mut impl BufRead,
) -> io::Result<bool> {
    let text = String::from_utf8_lossy(request);
    let target = text.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let asked = |name: &str| text.to_ascii_lowercase().contains(&format!("\r\n{name}:"));
    let by = format!("X-Served-By: {tag}\r\n");
    let length = request.len();
    let mut say = |head: &str, body: &[u8]| stream.write_all(&[head.as_bytes(), body].concat());
    match target {
        "/chunked" => {
            let mut body = Vec::new();
            for chunk in request.chunks(7) {
                body.extend_from_slice(format!("{:x};a=b\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\nX-Trailer: t\r\n\r\n");
            say(&format!("HTTP/1.1 200 OK\r\n{by}Transfer-Encoding: chunked\r\n\r\n"), &body)?;
        }
        "/interim" => {
            say(&format!("HTTP/1.1 103 Early Hints\r\n{by}\r\n"), b"")?;
            say(&format!("HTTP/1.1 200 OK\r\n{by}Content-Length: {length}\r\n\r\n"), request)?;
        }
        "/close" => {
            say(
                &format!(
                    "HTTP/1.1 200 OK\r\n{by}Connection: close\r\nContent-Length: {length}\r\n\r\n"
                ),
                request,
            )?;
            return Ok(false);
        }
        "/until-close" => {
            say(&format!("HTTP/1.1 200 OK\r\n{by}\r\n"), request)?;
            return Ok(false);
        }
        "/switch" if asked("upgrade") => {
            say(
                &format!(
                    "HTTP/1.1 101 Switching Protocols\r\n{by}Connection: upgrade\r\nUpgrade: echo\r\n\r\n"
                ),
                b"",
            )?;
            let mut buffer = [0; 4096];
            loop {
                let n = requests.read(&mut buffer)?;
                if n == 0 {
                    stream.shutdown(Shutdown::Write)?;
                    return Ok(false);
                }
                stream.write_all(&buffer[..n])?;
            }
        }
        "/refuse" => say(&format!("HTTP/1.1 403 No\r\n{by}Content-Length: 0\r\n\r\n"), b"")?,
        "/half" => {
            say(
                &format!("HTTP/1.1 200 OK\r\n{by}Content-Length: {length}\r\n\r\n"),
                &request[..length / 2],
            )?;
            return Ok(false);
        }
        "/silence" => {}
        _ if text.starts_with("HEAD ") => {
            say(&format!("HTTP/1.1 200 OK\r\n{by}Content-Length: {length}\r\n\r\n"), b"")?;
        }
        _ => say(&format!("HTTP/1.1 200 OK\r\n{by}Content-Length: {length}\r\n\r\n"), request)?,
    }
    Ok(true)
}

// === impl HttpClient ===

impl HttpClient {
    /// Calls from inside a namespace.
    pub fn connect(netns: &Namespace, to: impl Into<SocketAddr>) -> Result<Self> {
        let to = to.into();
        let stream =
            netns.run(|| TcpStream::connect(to)).with_context(|| format!("connect to {to}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let answers = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, answers })
    }

    /// Says these bytes at once.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Says that there is no more to come.
    pub fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// `GET target` with these header lines, and its answer.
    pub fn get(&mut self, target: &str, headers: &[&str]) -> Result<HttpResponse> {
        let mut request = format!("GET {target} HTTP/1.1\r\nHost: web\r\n");
        for header in headers {
            request += header;
            request += "\r\n";
        }
        self.say(request + "\r\n")?;
        self.answer(false)
    }

    /// The next response; one to HEAD has no body.
    pub fn answer(&mut self, to_head: bool) -> Result<HttpResponse> {
        let mut raw =
            read_head(&mut self.answers)?.context("the connection ended without an answer")?;
        let head = String::from_utf8(raw.clone())?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("a status in {head:?}"))?;
        let value = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            lines
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().to_owned())
                .next()
        };
        let mut body = Vec::new();
        if to_head || status < 200 || status == 204 || status == 304 {
        } else if let Some(length) = value("content-length") {
            body.resize(length.parse()?, 0);
            self.answers.read_exact(&mut body)?;
            raw.extend_from_slice(&body);
        } else if value("transfer-encoding").is_some() {
            read_chunks(&mut self.answers, &mut raw, &mut body)?;
        } else {
            self.answers.read_to_end(&mut body)?;
            raw.extend_from_slice(&body);
        }
        let tag = value("x-served-by").unwrap_or_default();
        Ok(HttpResponse { status, head: head.trim_end().to_owned(), tag, body, raw })
    }

    /// All that is still to come, up to the end.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.answers.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// So many bytes of what is still to come.
    pub fn raw(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.answers.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Another one on the same connection, to speak while this one listens.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            stream: self.stream.try_clone()?,
            answers: BufReader::new(self.stream.try_clone()?),
        })
    }

    /// Its own address.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }
}

/// One request with its body, as it came; nothing at the end of the stream.
fn read_message(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let Some(mut message) = read_head(stream)? else { return Ok(None) };
    let head = String::from_utf8_lossy(&message).to_ascii_lowercase();
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if let Some(length) = value("content-length:") {
        let length: usize = length.parse().map_err(io::Error::other)?;
        let start = message.len();
        message.resize(start + length, 0);
        stream.read_exact(&mut message[start..])?;
    } else if value("transfer-encoding:").is_some() {
        read_chunks(stream, &mut message, &mut Vec::new())?;
    }
    Ok(Some(message))
}

/// Up to and with the empty line.
fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        if stream.read_until(b'\n', &mut head)? == 0 {
            return if head.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        if head[before..] == *b"\r\n" && before > 0 {
            return Ok(Some(head));
        }
    }
}

/// A chunked body with its trailers: as it came, and what it says.
fn read_chunks(stream: &mut impl BufRead, raw: &mut Vec<u8>, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let before = raw.len();
        stream.read_until(b'\n', raw)?;
        let line = String::from_utf8_lossy(&raw[before..]);
        let size = line.trim_end().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        if size == 0 {
            break;
        }
        let start = raw.len();
        raw.resize(start + size + 2, 0);
        stream.read_exact(&mut raw[start..])?;
        body.extend_from_slice(&raw[start..start + size]);
    }
    loop {
        let before = raw.len();
        stream.read_until(b'\n', raw)?;
        if raw[before..] == *b"\r\n" {
            return Ok(());
        }
        if raw.len() == before {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
