//! Reads the head of a response: RFC 9112 sections 4 and 6.3, RFC 9110 section 15.

use httparse::Header;

use super::exchange::Kind;
use super::fields::{self, Fields};
use super::headers::Headers;
use super::odd;
use super::scan::{Found, HeadScan, Storage, Wrong};
use super::{After, Asked, Body, Version};
use crate::{Parsed, Reason};

/// The head of a response.
#[derive(Debug, Clone)]
pub struct ResponseHead<'a> {
    /// The status, from 100 to 999.
    pub status: u16,
    /// The version as sent.
    pub version: Version,
    /// The header fields.
    pub headers: Headers<'a>,
    /// The place at the beginning of the body.
    pub body: Body,
    /// What follows the body. An interim response has [`After::Keep`]: another response to the same
    /// request follows.
    pub after: After,
}

/// Reads the head of the response that `bytes` begin with. `to` comes from the request that the
/// response belongs to.
///
/// After [`Parsed::Partial`], call again with the same `scan` and with the same bytes and more.
pub fn response<'a, 'b: 'a>(
    bytes: &'b [u8],
    to: Asked,
    scan: &mut HeadScan,
    storage: &'a mut Storage<'b>,
) -> Parsed<ResponseHead<'a>> {
    let parsed = match scan.advance(bytes) {
        // Unlike clients, servers send no empty lines in front of a message.
        _ if bytes.first().is_some_and(|first| *first != b'H') => Err(Reason::NotHttp),
        Ok(Found::Head(len)) => {
            complete(&bytes[..len], to, storage).map(|head| Parsed::Complete { head, len })
        }
        Ok(Found::Lines(end)) => incomplete(&bytes[..end], storage).map(|()| Parsed::Partial),
        Ok(Found::Bytes(_)) if scan.in_start_line() => beginning(bytes).map(|()| Parsed::Partial),
        Ok(Found::Bytes(_)) => Ok(Parsed::Partial),
        Err(Wrong { reason, line, .. }) => {
            let earlier =
                if line == 0 { beginning(bytes) } else { incomplete(&bytes[..line], storage) };
            Err(earlier.err().unwrap_or(reason))
        }
    };
    parsed.unwrap_or_else(Parsed::Unframed)
}

/// Reads a head that has all its lines.
fn complete<'a, 'b: 'a>(
    head: &'b [u8],
    to: Asked,
    storage: &'a mut Storage<'b>,
) -> Result<ResponseHead<'a>, Reason> {
    let Storage { fields, copy } = storage;
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let (line, headers) = match config.parse_response_with_uninit_headers(&mut parsed, head, fields)
    {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {
            let list: &'a [Header<'b>] = parsed.headers;
            ((parsed.code, parsed.version), Headers::from(list))
        }
        Ok(_) => return Err(Reason::LineEnd),
        Err(_) => {
            let (line, list) = odd(head, copy)?;
            (line, Headers::owned(list))
        }
    };
    let (Some(status @ 100..), Some(minor)) = line else { return Err(Reason::StartLine) };
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let Fields { body, close, .. } = fields::read(&headers, version);
    let (body, after) = match (status, to.kind) {
        (101, _) if !to.upgrade => return Err(Reason::UnaskedUpgrade),
        (101, _) => (Body::NONE, After::Upgrade),
        (100..=199, _) => (Body::NONE, After::Keep),
        (200..=299, Kind::Connect) => (Body::NONE, After::Connect),
        // Their fields describe the response that GET would have had.
        (204 | 304, _) | (_, Kind::Head) => (Body::NONE, keep_unless(close || to.close)),
        _ => match body? {
            Some(body) => (body, keep_unless(close || to.close)),
            None => (Body::until_close(), After::Close),
        },
    };
    Ok(ResponseHead { status, version, headers, body, after })
}

fn keep_unless(close: bool) -> After {
    if close { After::Close } else { After::Keep }
}

/// Status and minor version, as far as they are there.
type Line = (Option<u16>, Option<u8>);

/// Reads lines that may have odd fields, by a copy without these.
fn odd<'a>(lines: &[u8], copy: &'a mut Vec<u8>) -> Result<(Line, Vec<Header<'a>>), Reason> {
    let number = odd::plain(lines, copy).map_err(|reason| first_of(lines, reason))?;
    let mut list = vec![httparse::EMPTY_HEADER; number];
    let mut parsed = httparse::Response::new(&mut list);
    parsed.parse(copy).map_err(|error| what(error, lines))?;
    let line = (parsed.code, parsed.version);
    Ok((line, list))
}

/// Checks the complete lines of a head that is still arriving.
fn incomplete<'b>(lines: &'b [u8], storage: &mut Storage<'b>) -> Result<(), Reason> {
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let fields = &mut storage.fields;
    if config.parse_response_with_uninit_headers(&mut parsed, lines, fields).is_ok() {
        return Ok(());
    }
    odd(lines, &mut storage.copy).map(|_| ())
}

/// Checks the beginning of a status line.
fn beginning(line: &[u8]) -> Result<(), Reason> {
    let fits = |expected: &[u8]| line.starts_with(expected) || expected.starts_with(line);
    if fits(b"HTTP/1.1 ") || fits(b"HTTP/1.0 ") {
        return Ok(());
    }
    Err(if line.starts_with(b"HTTP/") { Reason::Version } else { Reason::NotHttp })
}

/// The reason that the status line gives, or else `found`.
fn first_of(head: &[u8], found: Reason) -> Reason {
    let end = memchr::memchr(b'\n', head).map_or(head.len(), |lf| lf + 1);
    match httparse::Response::new(&mut []).parse(&head[..end]) {
        Err(error) => what(error, head),
        Ok(_) => found,
    }
}

/// The reason for an error of `httparse` in a head whose lines are complete.
fn what(error: httparse::Error, head: &[u8]) -> Reason {
    match error {
        httparse::Error::HeaderName | httparse::Error::TooManyHeaders => Reason::HeaderName,
        httparse::Error::HeaderValue => Reason::HeaderValue,
        httparse::Error::Version if head.starts_with(b"HTTP/") => Reason::Version,
        httparse::Error::Version => Reason::NotHttp,
        httparse::Error::NewLine => Reason::LineEnd,
        httparse::Error::Status | httparse::Error::Token => Reason::StartLine,
    }
}

// === impl ResponseHead ===

impl ResponseHead<'_> {
    /// Whether another response to the same request follows.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

#[cfg(test)]
mod tests;
