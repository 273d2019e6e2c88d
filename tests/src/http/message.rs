//! Readers of HTTP/1 messages, byte for byte.

use std::io::{self, BufRead};

use anyhow::{Context as _, Result};

/// The parts of a request's head that a server of plain transfers needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestHead {
    /// Whether the method is PUT.
    pub is_put: bool,
    /// The length of the body, in bytes; `None` for a chunked body.
    pub length: Option<u64>,
}

/// The parts of a response's head that a client of plain transfers needs.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The name of the server: `X-Served-By`.
    pub tag: String,
    /// The length of the body, in bytes; 0 without `Content-Length`.
    pub length: u64,
}

// === impl RequestHead ===

impl RequestHead {
    /// Reads one head, with its empty line. `None` if the client has closed the connection.
    ///
    /// # Errors
    /// An error of the connection, or a length that is not a number.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(head) = read_head(from)? else { return Ok(None) };
        let head = String::from_utf8_lossy(&head);
        let length = value(&head, "content-length").map(str::parse).transpose();
        Ok(Some(Self {
            is_put: head.starts_with("PUT "),
            length: length.map_err(io::Error::other)?,
        }))
    }
}

// === impl ResponseHead ===

impl ResponseHead {
    /// Reads one head, with its empty line.
    ///
    /// # Errors
    /// The end of the connection, or a length that is not a number.
    pub fn read(from: &mut impl BufRead) -> Result<Self> {
        let head = read_head(from)?.context("the connection ended without a response")?;
        let head = String::from_utf8(head)?;
        let length = value(&head, "content-length").unwrap_or("0").parse()?;
        Ok(Self { tag: value(&head, "x-served-by").unwrap_or_default().to_owned(), length })
    }
}

/// The value of the first field `name` of a head.
pub(crate) fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Reads one request with its body, unchanged. `None` at the end of the stream.
pub(crate) fn read_request(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let Some(mut message) = read_head(stream)? else { return Ok(None) };
    let head = String::from_utf8_lossy(&message).into_owned();
    if let Some(length) = value(&head, "content-length") {
        let length: usize = length.parse().map_err(io::Error::other)?;
        let start = message.len();
        message.resize(start + length, 0);
        stream.read_exact(&mut message[start..])?;
    } else if value(&head, "transfer-encoding").is_some() {
        read_chunks(stream, &mut message, &mut Vec::new())?;
    }
    Ok(Some(message))
}

/// Reads a head up to and including its empty line. `None` at the end of the stream.
pub(crate) fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
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
        // An empty line before a request is part of its head (RFC 9112, section 2.2).
        if head[before..] == *b"\r\n" && before > 0 {
            return Ok(Some(head));
        }
    }
}

/// Reads a chunked body with its trailers. Appends its bytes to `raw` and its content to `body`.
pub(crate) fn read_chunks(
    stream: &mut impl BufRead,
    raw: &mut Vec<u8>,
    body: &mut Vec<u8>,
) -> io::Result<()> {
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
