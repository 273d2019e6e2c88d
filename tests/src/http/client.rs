//! A client that sends any bytes and reads responses.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
};

use anyhow::{Context as _, Result};
use testbed::Namespace;

use super::message::{read_chunks, read_head, value};
use crate::TIMEOUT;

/// A connection of a client.
#[derive(Debug)]
pub struct HttpClient {
    stream: TcpStream,
    responses: BufReader<TcpStream>,
}

/// One response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The head as received, without its empty line.
    pub head: String,
    /// The name of the server: `X-Served-By`.
    pub tag: String,
    /// The content of the body, without chunk framing.
    pub body: Vec<u8>,
    /// All bytes as received.
    pub raw: Vec<u8>,
}

// === impl HttpClient ===

impl HttpClient {
    /// Connects from inside a namespace.
    pub fn connect(netns: &Namespace, to: impl Into<SocketAddr>) -> Result<Self> {
        let to = to.into();
        let stream =
            netns.run(|| TcpStream::connect(to)).with_context(|| format!("connect to {to}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let responses = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, responses })
    }

    /// Sends bytes in one write.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Closes the client's half of the connection.
    pub fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Sends `GET target` with these header lines and reads the response.
    pub fn get(&mut self, target: &str, headers: &[&str]) -> Result<HttpResponse> {
        let mut request = format!("GET {target} HTTP/1.1\r\nHost: web\r\n");
        for header in headers {
            request += header;
            request += "\r\n";
        }
        self.send(request + "\r\n")?;
        self.response(false)
    }

    /// Reads the next response. A response to HEAD has no body.
    pub fn response(&mut self, to_head: bool) -> Result<HttpResponse> {
        let mut raw =
            read_head(&mut self.responses)?.context("the connection ended without a response")?;
        let head = String::from_utf8(raw.clone())?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no status in {head:?}"))?;
        let mut body = Vec::new();
        if to_head || status < 200 || status == 204 || status == 304 {
        } else if let Some(length) = value(&head, "content-length") {
            body.resize(length.parse()?, 0);
            self.responses.read_exact(&mut body)?;
            raw.extend_from_slice(&body);
        } else if value(&head, "transfer-encoding").is_some() {
            read_chunks(&mut self.responses, &mut raw, &mut body)?;
        } else {
            self.responses.read_to_end(&mut body)?;
            raw.extend_from_slice(&body);
        }
        let tag = value(&head, "x-served-by").unwrap_or_default().to_owned();
        Ok(HttpResponse { status, head: head.trim_end().to_owned(), tag, body, raw })
    }

    /// Reads everything up to the end of the connection.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.responses.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Reads the next `count` bytes.
    pub fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.responses.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether the server has closed the connection. Clients look before they use an idle one.
    pub fn is_closed(&self) -> io::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        match peeked {
            Ok(n) => Ok(n == 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// A second handle to the connection, to send while this one reads.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            stream: self.stream.try_clone()?,
            responses: BufReader::new(self.stream.try_clone()?),
        })
    }

    /// The client's own address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }
}
