//! Reads the first message of a TLS client: RFC 8446 section 4.1.2, in records of section 5.1.
//!
//! It reads only what is not encrypted: the server name (RFC 6066 section 3) and the protocols that
//! the client offers (RFC 7301 section 3.1). Under Encrypted Client Hello these are the outer ones.

use std::borrow::Cow;

use crate::{Parsed, Reason};

/// Maximum length of a ClientHello in bytes, without the headers of its records. With post-quantum
/// keys it has about 2,000.
pub const MAX_HELLO: usize = 16 * 1024;

/// Maximum number of records that a ClientHello may be split over.
pub const MAX_RECORDS: usize = 32;

const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
/// Maximum length of a record's content in bytes, RFC 8446 section 5.1.
const MAX_RECORD: usize = 1 << 14;
/// Maximum length of a name in bytes, RFC 1035 section 3.1, as text.
const MAX_NAME: usize = 255;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// The unencrypted parts of a ClientHello.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// The server name as sent: printable ASCII, to be compared without case.
    pub server_name: Option<Cow<'a, str>>,
    /// The list of protocols as sent: each is preceded by its length.
    alpn: Option<Cow<'a, [u8]>>,
}

/// Reads the ClientHello that `bytes` begin with. `len` includes the headers of the records.
///
/// Allocates only if the ClientHello is split over records. Other bytes are
/// [`Parsed::Unframed`] as soon as the first byte arrives that a ClientHello can't have there.
pub fn client_hello(bytes: &[u8]) -> Parsed<ClientHello<'_>> {
    let (head, len) = match message(bytes) {
        Ok(Parsed::Complete { head: Cow::Borrowed(message), len }) => (hello(message), len),
        Ok(Parsed::Complete { head: Cow::Owned(message), len }) => {
            (hello(&message).map(ClientHello::into_owned), len)
        }
        Ok(_) => return Parsed::Partial,
        Err(reason) => return Parsed::Unframed(reason),
    };
    head.map_or(Parsed::Unframed(Reason::Hello), |head| Parsed::Complete { head, len })
}

/// The handshake message, taken out of its records, without its header.
fn message(bytes: &[u8]) -> Result<Parsed<Cow<'_, [u8]>>, Reason> {
    let mut message = Cow::Borrowed(&[][..]);
    let mut at = 0;
    for _ in 0..MAX_RECORDS {
        let header = &bytes[at..bytes.len().min(at + RECORD_HEADER)];
        check_record(header, at)?;
        let &[_, _, _, high, low] = header else { return Ok(Parsed::Partial) };
        at += RECORD_HEADER;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let fragment = &bytes[at..bytes.len().min(at + length)];
        at += length;
        if message.is_empty() {
            message = Cow::Borrowed(fragment);
        } else {
            message.to_mut().extend_from_slice(fragment);
        }
        match (wanted(&message)?, fragment.len() == length) {
            (Some(wanted), true) if message.len() == wanted => {
                let head = match message {
                    Cow::Borrowed(message) => Cow::Borrowed(&message[MESSAGE_HEADER..]),
                    Cow::Owned(message) => Cow::Owned(message[MESSAGE_HEADER..].to_vec()),
                };
                return Ok(Parsed::Complete { head, len: at });
            }
            // The record goes on after the ClientHello. It may not: the server has to answer first.
            (Some(wanted), _) if message.len() > wanted => return Err(Reason::Hello),
            (_, false) => return Ok(Parsed::Partial),
            _ => {}
        }
    }
    Err(Reason::HelloTooLong)
}

/// Checks the part of a record's header that has arrived. `at` is its offset in the stream.
fn check_record(header: &[u8], at: usize) -> Result<(), Reason> {
    let fits = header.first().is_none_or(|kind| *kind == HANDSHAKE)
        && header.get(1).is_none_or(|major| *major == 3)
        && header.get(2).is_none_or(|minor| *minor <= 4);
    let length = match header {
        [_, _, _, high, low] => Some(usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    };
    match length {
        _ if !fits => Err(if at == 0 { Reason::NotTls } else { Reason::Hello }),
        Some(0) => Err(Reason::Hello),
        Some(length) if length > MAX_RECORD => {
            Err(if at == 0 { Reason::NotTls } else { Reason::Hello })
        }
        _ => Ok(()),
    }
}

/// The length of the message with its header, if the header has arrived.
fn wanted(message: &[u8]) -> Result<Option<usize>, Reason> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(Reason::Hello);
    }
    let &[_, high, middle, low, ..] = message else { return Ok(None) };
    let wanted = MESSAGE_HEADER + u32::from_be_bytes([0, high, middle, low]) as usize;
    if wanted > MAX_HELLO { Err(Reason::HelloTooLong) } else { Ok(Some(wanted)) }
}

/// Reads a ClientHello, RFC 8446 section 4.1.2. `None` if it is malformed.
fn hello(message: &[u8]) -> Option<ClientHello<'_>> {
    let mut reader = Reader(message);
    reader.take(2)?; // legacy_version
    reader.take(32)?; // random
    let session = reader.list8()?;
    let ciphers = reader.list16()?;
    let compressions = reader.list8()?;
    if session.len() > 32 || ciphers.is_empty() || ciphers.len() % 2 == 1 || compressions.is_empty()
    {
        return None;
    }
    let mut hello = ClientHello::default();
    // Before TLS 1.3, a client may send no extensions.
    if reader.is_empty() {
        return Some(hello);
    }
    let mut extensions = Reader(reader.list16()?);
    if !reader.is_empty() {
        return None;
    }
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let data = extensions.list16()?;
        // Each extension may occur once, section 4.2.
        match kind {
            SERVER_NAME if hello.server_name.is_none() => {
                hello.server_name = Some(Cow::Borrowed(server_name(data)?));
            }
            ALPN if hello.alpn.is_none() => hello.alpn = Some(Cow::Borrowed(protocols(data)?)),
            SERVER_NAME | ALPN => return None,
            _ => {}
        }
    }
    Some(hello)
}

/// Reads the server name, RFC 6066 section 3: a list in which each type may occur once. Only one
/// type was ever defined.
fn server_name(data: &[u8]) -> Option<&str> {
    let mut data = Reader(data);
    let mut list = Reader(data.list16()?);
    let kind = list.u8()?;
    let name = list.list16()?;
    let good = kind == 0
        && list.is_empty()
        && data.is_empty()
        && !name.is_empty()
        && name.len() <= MAX_NAME
        && name.iter().all(u8::is_ascii_graphic);
    if good { str::from_utf8(name).ok() } else { None }
}

/// Checks a list of protocols, RFC 7301 section 3.1: at least one name, and no empty ones.
fn protocols(data: &[u8]) -> Option<&[u8]> {
    let mut data = Reader(data);
    let list = data.list16()?;
    let mut names = Reader(list);
    while !names.is_empty() {
        if names.list8()?.is_empty() {
            return None;
        }
    }
    (data.is_empty() && !list.is_empty()).then_some(list)
}

// === impl ClientHello ===

impl ClientHello<'_> {
    /// The protocols that the client offers by ALPN, such as `h2` and `http/1.1`, in the order of
    /// its preference.
    pub fn protocols(&self) -> impl Iterator<Item = &[u8]> {
        let mut names = Reader(self.alpn.as_deref().unwrap_or_default());
        std::iter::from_fn(move || names.list8())
    }

    fn into_owned(self) -> ClientHello<'static> {
        ClientHello {
            server_name: self.server_name.map(|name| Cow::Owned(name.into_owned())),
            alpn: self.alpn.map(|list| Cow::Owned(list.into_owned())),
        }
    }
}

/// Takes pieces off the front of a message. Each method is `None` if the message is too short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A list that is preceded by its length in one byte.
    fn list8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A list that is preceded by its length in two bytes.
    fn list16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests;
