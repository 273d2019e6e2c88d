//! Offers of a request to go on with a protocol that itself carries requests: RFC 9110 section 7.8.
//!
//! Such a protocol is HTTP/2 (`h2c`, RFC 7540 section 3.2), another version of HTTP, or TLS (RFC
//! 2817), which hides them. What follows the switch may be requests of several users. A server that
//! is meant for one of them must not get such an offer.

use super::{Asked, RequestHead, ResponseHead};

// === impl RequestHead ===

impl RequestHead<'_> {
    /// Whether it offers a protocol that carries requests.
    pub fn offers_requests(&self) -> bool {
        self.protocols().any(carries_requests)
    }

    /// What the request means for the framing of its response if the server gets it
    /// [without the offers](without_offers).
    pub fn asked_without_offers(&self) -> Asked {
        let upgrade = self.protocols().any(|protocol| !carries_requests(protocol));
        Asked { upgrade, ..self.asked() }
    }

    /// The payload of the SETTINGS frame in `HTTP2-Settings`, if the request offers HTTP/2. `None`
    /// if the field is missing, repeated or wrong.
    pub fn http2_settings(&self) -> Option<Box<[u8]>> {
        if !self.protocols().any(is_http2) {
            return None;
        }
        let mut values = Vec::new();
        self.header_values("http2-settings", |value| values.push(value));
        let [value] = values[..] else { return None };
        base64url(value)
    }

    fn protocols(&self) -> impl Iterator<Item = &[u8]> {
        protocols(&self.headers)
    }
}

// === impl ResponseHead ===

impl ResponseHead<'_> {
    /// Whether HTTP/2 follows.
    pub fn switches_to_http2(&self) -> bool {
        let mut protocols = protocols(&self.headers);
        self.status == 101 && protocols.next().is_some_and(is_http2) && protocols.next().is_none()
    }
}

/// The same head without the offers of protocols that carry requests. All other bytes stay.
///
/// `head` is the whole head of a request, with the empty line at its end.
pub fn without_offers(head: &[u8]) -> Vec<u8> {
    let offers_others = fields(head).any(|field| {
        is_named(field, b"upgrade") && members(value(field)).any(|member| !carries_requests(member))
    });
    let mut without = Vec::with_capacity(head.len());
    for field in fields(head) {
        if is_named(field, b"upgrade") {
            keep_members(&mut without, field, |member| !carries_requests(member));
        } else if is_named(field, b"connection") {
            keep_members(&mut without, field, |member| {
                let is_upgrade = member.eq_ignore_ascii_case(b"upgrade") && !offers_others;
                !is_upgrade && !member.eq_ignore_ascii_case(b"http2-settings")
            });
        } else if !is_named(field, b"http2-settings") {
            without.extend_from_slice(field);
        }
    }
    without
}

/// Appends a field with the members of its list that are wanted. One that keeps all of them keeps
/// its bytes, and one that keeps none is left out.
fn keep_members(out: &mut Vec<u8>, field: &[u8], is_wanted: impl Fn(&[u8]) -> bool) {
    let (mut kept, mut is_whole) = (Vec::new(), true);
    for member in members(value(field)) {
        if is_wanted(member) {
            kept.push(member);
        } else {
            is_whole = false;
        }
    }
    if is_whole {
        out.extend_from_slice(field);
    } else if !kept.is_empty() {
        let name = field.split_inclusive(|byte| *byte == b':').next().unwrap_or_default();
        out.extend_from_slice(&[name, b" ", &kept.join(&b", "[..]), b"\r\n"].concat());
    }
}

/// The lines of a head. A line that a field goes on in belongs to that field.
fn fields(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = head;
    std::iter::from_fn(move || {
        let mut end = 0;
        while end == 0 || matches!(rest.get(end), Some(b' ' | b'\t')) {
            let line = rest.get(end..).filter(|line| !line.is_empty())?;
            end += line.iter().position(|byte| *byte == b'\n').map_or(line.len(), |at| at + 1);
        }
        let (field, behind) = rest.split_at(end);
        rest = behind;
        Some(field)
    })
}

fn is_named(field: &[u8], name: &[u8]) -> bool {
    let end = field.iter().position(|byte| *byte == b':');
    end.is_some_and(|end| field[..end].eq_ignore_ascii_case(name))
}

/// What follows the name of a field.
fn value(field: &[u8]) -> &[u8] {
    field.iter().position(|byte| *byte == b':').map_or(b"", |colon| &field[colon + 1..])
}

fn protocols<'a>(headers: &'a [httparse::Header<'_>]) -> impl Iterator<Item = &'a [u8]> {
    let upgrades = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("upgrade"));
    upgrades.flat_map(|header| members(header.value))
}

/// The members of a list, RFC 9110 section 5.6.1.
fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Whether messages of the protocol may be requests of several users.
fn carries_requests(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
    // Drafts of HTTP/2 were `h2c-14` and the like.
    let name = name.split(|byte| *byte == b'-').next().unwrap_or_default();
    ["h2c", "http", "tls"].iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn is_http2(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"h2c")
}

/// Decodes base64url, RFC 4648 section 5, with or without the padding.
fn base64url(text: &[u8]) -> Option<Box<[u8]>> {
    let digits = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let mut decoded = Vec::with_capacity(digits * 3 / 4);
    for group in text[..digits].chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            bits = bits << 6 | u32::from(base64url_digit(*digit)?);
        }
        match group.len() {
            4 => decoded.extend_from_slice(&bits.to_be_bytes()[1..]),
            3 => decoded.extend_from_slice(&(bits >> 2).to_be_bytes()[2..]),
            2 => decoded.extend_from_slice(&(bits >> 4).to_be_bytes()[3..]),
            _ => return None,
        }
    }
    Some(decoded.into())
}

fn base64url_digit(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
