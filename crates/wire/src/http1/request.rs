//! Reads the head of a request: RFC 9112 sections 2 to 6.

use httparse::Header;

use super::exchange::Kind;
use super::fields::{self, Fields};
use super::headers::Headers;
use super::odd;
use super::scan::{Found, HeadScan, Storage, Wrong};
use super::{After, Asked, Body, MAX_METHOD, Version, is_text};
use crate::{Parsed, Reason};

/// The head of a request.
#[derive(Debug, Clone)]
pub struct RequestHead<'a> {
    method: &'a str,
    target: &'a str,
    /// The version as sent.
    pub version: Version,
    /// The header fields.
    pub headers: Headers<'a>,
    /// The place at the beginning of the body.
    pub body: Body,
    /// Whether the head declares where the content ends: a length or a coding.
    pub has_length: bool,
    /// What follows the body.
    pub after: After,
    close: bool,
}

/// Reads the head of the request that `bytes` begin with.
///
/// Empty lines in front of it belong to the head (RFC 9112 section 2.2). After [`Parsed::Partial`],
/// call again with the same `scan` and with the same bytes and more. Other bytes are
/// [`Parsed::Unframed`] as soon as the first byte arrives that a request can't have there.
pub fn request<'a, 'b: 'a>(
    bytes: &'b [u8],
    scan: &mut HeadScan,
    storage: &'a mut Storage<'b>,
) -> Parsed<RequestHead<'a>> {
    let parsed = match scan.advance(bytes) {
        Ok(Found::Head(len)) => {
            complete(&bytes[..len], storage).map(|head| Parsed::Complete { head, len })
        }
        Ok(Found::Lines(end)) => incomplete(&bytes[..end], storage).map(|()| Parsed::Partial),
        Ok(Found::Bytes(from)) if scan.in_start_line() => {
            let start = scan.start();
            beginning(bytes.get(start..).unwrap_or_default(), from.saturating_sub(start))
                .map(|()| Parsed::Partial)
        }
        Ok(Found::Bytes(_)) => Ok(Parsed::Partial),
        Err(wrong) => Err(first_wrong(bytes, wrong, storage)),
    };
    parsed.unwrap_or_else(Parsed::Unframed)
}

/// Reads a head that has all its lines.
fn complete<'a, 'b: 'a>(
    head: &'b [u8],
    storage: &'a mut Storage<'b>,
) -> Result<RequestHead<'a>, Reason> {
    let Storage { fields, copy } = storage;
    let mut parsed = httparse::Request::new(&mut []);
    let (line, headers) = match parsed.parse_with_uninit_headers(head, fields) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {
            let list: &'a [Header<'b>] = parsed.headers;
            ((parsed.method, parsed.path, parsed.version), Headers::from(list))
        }
        Ok(_) => return Err(Reason::LineEnd),
        Err(_) => {
            let (line, list) = odd(head, copy)?;
            (line, Headers::owned(list))
        }
    };
    let (Some(method), Some(target), Some(minor)) = line else { return Err(Reason::StartLine) };
    if !is_method(method.as_bytes()) {
        return Err(Reason::NotHttp);
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let kind = kind(method)?;
    let Fields { body, close, upgrade } = fields::read(&headers, version);
    let body = body?;
    let has_length = body.is_some();
    let body = body.unwrap_or(Body::NONE);
    if kind == Kind::Connect && !body.is_done() {
        return Err(Reason::ConnectWithContent);
    }
    let after = match kind {
        Kind::Connect => After::Connect,
        _ if upgrade => After::Upgrade,
        _ if close => After::Close,
        _ => After::Keep,
    };
    Ok(RequestHead { method, target, version, headers, body, has_length, after, close })
}

/// Method, request target and minor version, as far as they are there.
type Line<'a> = (Option<&'a str>, Option<&'a str>, Option<u8>);

/// Reads lines that may have odd fields, by a copy without these.
fn odd<'a>(lines: &[u8], copy: &'a mut Vec<u8>) -> Result<(Line<'a>, Vec<Header<'a>>), Reason> {
    let number = odd::plain(lines, copy).map_err(|reason| first_of(lines, reason))?;
    let mut list = vec![httparse::EMPTY_HEADER; number];
    let mut parsed = httparse::Request::new(&mut list);
    parsed.parse(copy).map_err(|error| what(error, lines))?;
    let line = (parsed.method, parsed.path, parsed.version);
    Ok((line, list))
}

/// Checks the complete lines of a head that is still arriving.
fn incomplete<'b>(lines: &'b [u8], storage: &mut Storage<'b>) -> Result<(), Reason> {
    if without_empty_lines(lines).is_empty() {
        return Ok(());
    }
    let mut parsed = httparse::Request::new(&mut []);
    let method = match parsed.parse_with_uninit_headers(lines, &mut storage.fields) {
        Ok(_) => parsed.method,
        Err(_) => odd(lines, &mut storage.copy)?.0.0,
    };
    match method {
        Some(method) if is_method(method.as_bytes()) => kind(method).map(|_| ()),
        _ => Err(Reason::NotHttp),
    }
}

/// Checks the beginning of a request line. An earlier call has checked the bytes before `from`.
fn beginning(line: &[u8], from: usize) -> Result<(), Reason> {
    // The line begins with a method, or is the CR of an empty line.
    if matches!(line, [] | [b'\r']) {
        return Ok(());
    }
    let end = line.iter().take(MAX_METHOD + 1).position(|byte| !is_method_byte(*byte));
    let Some(end) = end else {
        return if line.len() > MAX_METHOD { Err(Reason::NotHttp) } else { Ok(()) };
    };
    if end == 0 || line[end] != b' ' {
        return Err(Reason::NotHttp);
    }
    // Servers take several spaces for one, or refuse them.
    let target = without_spaces(&line[end..]);
    let start = line.len() - target.len();
    let space = memchr::memchr(b' ', target);
    let (seen, until) = (from.saturating_sub(start), space.unwrap_or(target.len()));
    if target
        .get(seen..until)
        .is_some_and(|new| new.iter().any(|byte| !is_text(*byte) && *byte != b'\r'))
    {
        return Err(Reason::NotHttp);
    }
    let Some(space) = space else { return Ok(()) };
    let version = without_spaces(&target[space..]);
    let fits = |expected: &[u8]| expected.starts_with(version);
    if fits(b"HTTP/1.1\r") || fits(b"HTTP/1.0\r") {
        return Ok(());
    }
    Err(if version.starts_with(b"HTTP/") { Reason::Version } else { Reason::NotHttp })
}

/// What follows the spaces at the beginning.
fn without_spaces(bytes: &[u8]) -> &[u8] {
    let spaces = bytes.iter().take_while(|byte| **byte == b' ').count();
    &bytes[spaces..]
}

/// The first error in the bytes: that of the line `wrong`, or one in front of it.
fn first_wrong<'b>(bytes: &'b [u8], wrong: Wrong, storage: &mut Storage<'b>) -> Reason {
    let (before, line) = (&bytes[..wrong.line], &bytes[wrong.line..wrong.end]);
    let earlier = if without_empty_lines(before).is_empty() {
        beginning(line, 0)
    } else {
        incomplete(before, storage)
    };
    earlier.err().unwrap_or(wrong.reason)
}

/// The head from its start line on.
fn without_empty_lines(mut head: &[u8]) -> &[u8] {
    while let Some(rest) = head.strip_prefix(b"\r\n") {
        head = rest;
    }
    head
}

/// The kind of a method. HEAD and CONNECT in other letter case are refused: some servers take them
/// for the real ones, which affects the framing of the response.
fn kind(method: &str) -> Result<Kind, Reason> {
    match method.len() {
        4 if method == "HEAD" => Ok(Kind::Head),
        7 if method == "CONNECT" => Ok(Kind::Connect),
        4 if method.eq_ignore_ascii_case("HEAD") => Err(Reason::Method),
        7 if method.eq_ignore_ascii_case("CONNECT") => Err(Reason::Method),
        _ => Ok(Kind::Other),
    }
}

fn is_method(method: &[u8]) -> bool {
    !method.is_empty()
        && method.len() <= MAX_METHOD
        && method.iter().all(|byte| is_method_byte(*byte))
}

pub(crate) fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_')
}

/// The reason for an error of `httparse` in a head whose lines are complete. `httparse` accepts
/// more methods than we do.
fn what(error: httparse::Error, head: &[u8]) -> Reason {
    first_of(head, meaning(error))
}

fn meaning(error: httparse::Error) -> Reason {
    match error {
        httparse::Error::HeaderName => Reason::HeaderName,
        httparse::Error::HeaderValue => Reason::HeaderValue,
        // CR without LF.
        httparse::Error::NewLine => Reason::LineEnd,
        _ => Reason::StartLine,
    }
}

/// The reason that the start line gives, or else `found`.
fn first_of(head: &[u8], found: Reason) -> Reason {
    if let Err(reason) = start_line(head) {
        return reason;
    }
    let head = without_empty_lines(head);
    let end = memchr::memchr(b'\n', head).map_or(head.len(), |lf| lf + 1);
    let mut line = Vec::new();
    let parsed = odd::plain(&head[..end], &mut line)
        .map(|_| httparse::Request::new(&mut []).parse(&line).err().map(meaning));
    parsed.ok().flatten().unwrap_or(found)
}

/// Checks method and version of the start line.
fn start_line(head: &[u8]) -> Result<(), Reason> {
    let line = without_empty_lines(head).split(|byte| *byte == b'\n').next().unwrap_or_default();
    beginning(line, 0)?;
    let mut words = line.split(|byte| *byte == b' ');
    let method = words.next().and_then(|method| str::from_utf8(method).ok());
    if words.count() < 2 {
        return Err(Reason::Http09);
    }
    kind(method.unwrap_or_default()).map(|_| ())
}

// === impl RequestHead ===

impl<'a> RequestHead<'a> {
    /// The method as sent.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The request target as sent, RFC 9112 section 3.2.
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The host that the client names, with its port if there is one: the authority of the request
    /// target, or else the header `Host` (RFC 9112 section 3.2.2). `None` if it is missing, empty,
    /// repeated or not UTF-8.
    pub fn host(&self) -> Option<&'a str> {
        let host = match self.split_target() {
            (Some(authority), _) => authority,
            (None, _) => {
                let mut hosts =
                    self.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
                let (host, None) = (hosts.next()?, hosts.next()) else { return None };
                str::from_utf8(host.value).ok()?
            }
        };
        Some(host).filter(|host| !host.is_empty())
    }

    /// The path with the query. Of a URL, the part after the authority, or `/`. Of CONNECT, an
    /// empty string. Other request targets, such as `*`, are returned as sent.
    pub fn path(&self) -> &'a str {
        self.split_target().1
    }

    /// Calls `each` with the value of each header field of this name, in the order sent.
    pub fn header_values(&self, name: &str, mut each: impl FnMut(&'a [u8])) {
        for header in self.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)) {
            each(header.value);
        }
    }

    /// What the request means for the framing of its response.
    pub fn asked(&self) -> Asked {
        let kind = match self.after {
            After::Connect => Kind::Connect,
            _ if self.method == "HEAD" => Kind::Head,
            _ => Kind::Other,
        };
        let upgrade = self.after == After::Upgrade;
        Asked { kind, upgrade, close: self.close }
    }

    /// The authority, if the request target has one, and the rest.
    fn split_target(&self) -> (Option<&'a str>, &'a str) {
        let target = self.target;
        if target.starts_with('/') {
            return (None, target);
        }
        if self.after == After::Connect {
            return (Some(target), "");
        }
        let Some((scheme, rest)) = target.split_once("://") else { return (None, target) };
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme {
            return (None, target);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        (Some(host), if path.is_empty() { "/" } else { path })
    }
}

#[cfg(test)]
mod tests;
