//! A server that echoes requests.

use std::{
    io::{self, BufRead, BufReader, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
};

use anyhow::Result;
use parking_lot::Mutex;
use testbed::{Namespace, TcpService};

use super::message::read_request;

/// A server that answers each request with the request's own bytes, and records all bytes.
///
/// The request target selects another response:
///
/// - `/chunked`
/// - `/interim`: a 103 before the response
/// - `/close`
/// - `/until-close`
/// - `/switch`: 101 for an upgrade, then an echo
/// - `/refuse`: 403
/// - `/half`: closes in the middle of the response
/// - `/silence`: no response
#[derive(Debug)]
pub struct HttpEchoServer {
    service: TcpService,
    received: Arc<Mutex<Vec<u8>>>,
}

// === impl HttpEchoServer ===

impl HttpEchoServer {
    /// Starts a server whose responses carry `tag` in `X-Served-By`.
    pub fn start(netns: &Namespace, addr: impl Into<SocketAddr>, tag: &str) -> Result<Self> {
        let received = Arc::new(Mutex::new(Vec::new()));
        let (tag, record) = (tag.to_owned(), Arc::clone(&received));
        let service = TcpService::start(netns, addr, move |stream, traffic| {
            let mut requests =
                BufReader::new(Recorder { stream: stream.try_clone()?, record: &record });
            while let Some(request) = read_request(&mut requests)? {
                traffic.count_request();
                if !respond(&stream, &tag, &request, &mut requests)? {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(Self { service, received })
    }

    /// All bytes received, on all connections.
    pub fn received(&self) -> Vec<u8> {
        self.received.lock().clone()
    }

    /// The service with its counters.
    pub fn service(&self) -> &TcpService {
        &self.service
    }

    /// Closes the listener; open connections stay.
    pub fn stop_listening(&mut self) {
        self.service.stop_listening();
    }
}

/// A stream that records the bytes that are read from it.
struct Recorder<'a> {
    stream: TcpStream,
    record: &'a Mutex<Vec<u8>>,
}

impl io::Read for Recorder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(buffer)?;
        self.record.lock().extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

/// Sends the response. Returns whether the connection stays open.
fn respond(
    mut stream: &TcpStream,
    tag: &str,
    request: &[u8],
    requests: &mut impl BufRead,
) -> io::Result<bool> {
    let text = String::from_utf8_lossy(request);
    let target = text.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let has_field = |name: &str| text.to_ascii_lowercase().contains(&format!("\r\n{name}:"));
    let by = format!("X-Served-By: {tag}\r\n");
    let length = request.len();
    let mut send = |head: &str, body: &[u8]| stream.write_all(&[head.as_bytes(), body].concat());
    match target {
        "/chunked" => {
            let mut body = Vec::new();
            for chunk in request.chunks(7) {
                body.extend_from_slice(format!("{:x};a=b\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\nX-Trailer: t\r\n\r\n");
            send(&format!("HTTP/1.1 200 OK\r\n{by}Transfer-Encoding: chunked\r\n\r\n"), &body)?;
        }
        "/interim" => {
            send(&format!("HTTP/1.1 103 Early Hints\r\n{by}\r\n"), b"")?;
            send(&format!("HTTP/1.1 200 OK\r\n{by}Content-Length: {length}\r\n\r\n"), request)?;
        }
        "/close" => {
            send(
                &format!(
                    "HTTP/1.1 200 OK\r\n{by}Connection: close\r\nContent-Length: {length}\r\n\r\n"
                ),
                request,
            )?;
            return Ok(false);
        }
        "/until-close" => {
            send(&format!("HTTP/1.1 200 OK\r\n{by}\r\n"), request)?;
            return Ok(false);
        }
        "/switch" if has_field("upgrade") => {
            send(
                &format!(
                    "HTTP/1.1 101 Switching Protocols\r\n{by}\
                     Connection: upgrade\r\nUpgrade: echo\r\n\r\n"
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
        "/refuse" => send(&format!("HTTP/1.1 403 No\r\n{by}Content-Length: 0\r\n\r\n"), b"")?,
        "/half" => {
            send(
                &format!("HTTP/1.1 200 OK\r\n{by}Content-Length: {length}\r\n\r\n"),
                &request[..length / 2],
            )?;
            return Ok(false);
        }
        "/silence" => {}
        _ if text.starts_with("HEAD ") => {
            send(&format!("HTTP/1.1 200 OK\r\n{by}Content-Length: {length}\r\n\r\n"), b"")?;
        }
        _ => send(&format!("HTTP/1.1 200 OK\r\n{by}Content-Length: {length}\r\n\r\n"), request)?,
    }
    Ok(true)
}
