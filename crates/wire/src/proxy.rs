//! Finds the end of a PROXY protocol header, which a proxy sends before its client's bytes.
//!
//! Specification: <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>. Only the length of
//! the header matters here: the server that gets it reads the addresses.

use crate::{Parsed, Reason};

/// The first bytes of a header of version 1, section 2.1, up to its address family.
pub(crate) const V1: [&[u8]; 3] = [b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN"];
/// The signature of version 2, section 2.2.
pub(crate) const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Maximum length of a header of version 1, in bytes (section 2.1).
const MAX_V1: usize = 107;
/// The fixed part of version 2: signature, version with command, family, length of the rest.
const FIXED_V2: usize = 16;
/// Maximum length of a header of version 2, in bytes. The format allows 64 KiB for extensions;
/// senders use some hundred bytes.
pub const MAX_HEADER: usize = 4096;

/// Finds the end of the header that `bytes` begin with, once
/// [`opening`](crate::opening()) has recognised it.
///
/// The answer is [`Parsed::Partial`] until the whole header has arrived. A header that no server
/// takes, or over [`MAX_HEADER`], is [`Parsed::Unframed`].
pub fn header(bytes: &[u8]) -> Parsed<()> {
    let is_v2 = bytes.starts_with(V2) || V2.starts_with(bytes);
    let length = if is_v2 { v2(bytes) } else { v1(bytes) };
    match length {
        Ok(Some(len)) if len <= bytes.len() => Parsed::Complete { head: (), len },
        Ok(_) => Parsed::Partial,
        Err(reason) => Parsed::Unframed(reason),
    }
}

/// The length of a header of version 1: a line that ends in CRLF.
fn v1(bytes: &[u8]) -> Result<Option<usize>, Reason> {
    let line = &bytes[..bytes.len().min(MAX_V1)];
    let after_unknown = line.strip_prefix(V1[2]).and_then(|rest| rest.first());
    if after_unknown.is_some_and(|byte| !matches!(byte, b' ' | b'\r')) {
        return Err(Reason::ProxyHeader);
    }
    let end = line.iter().position(|byte| !matches!(byte, b' '..=b'~'));
    match end.map(|end| &line[end..]) {
        Some([b'\r', b'\n', ..]) => Ok(end.map(|end| end + 2)),
        Some([b'\r']) if line.len() < MAX_V1 => Ok(None),
        None if line.len() < MAX_V1 => Ok(None),
        _ => Err(Reason::ProxyHeader),
    }
}

/// The length of a header of version 2, when its fixed part has arrived.
fn v2(bytes: &[u8]) -> Result<Option<usize>, Reason> {
    // Version 2 with the command LOCAL or PROXY; unspecified, IPv4, IPv6 or Unix, each with its
    // transport.
    let known = |place: usize, is_known: fn(u8) -> bool| {
        bytes.get(place).is_none_or(|byte| is_known(*byte))
    };
    if !known(12, |command| matches!(command, 0x20 | 0x21))
        || !known(13, |family| family >> 4 <= 3 && family & 0xf <= 2)
    {
        return Err(Reason::ProxyHeader);
    }
    let Some([high, low]) = bytes.get(FIXED_V2 - 2..FIXED_V2) else { return Ok(None) };
    let length = FIXED_V2 + usize::from(u16::from_be_bytes([*high, *low]));
    if length > MAX_HEADER { Err(Reason::ProxyHeader) } else { Ok(Some(length)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn v2_header(command: u8, family: u8, rest: usize) -> Vec<u8> {
        let length = u16::try_from(rest).expect("short").to_be_bytes();
        [&V2[..], &[command, family], &length, &vec![7; rest]].concat()
    }

    #[rstest]
    #[case::v1(b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 80\r\n")]
    #[case::v1_ipv6(b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 80\r\n")]
    #[case::v1_unknown(b"PROXY UNKNOWN\r\n")]
    #[case::v1_unknown_with_addresses(
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"
    )]
    #[case::v2(&v2_header(0x21, 0x11, 12))]
    #[case::v2_ipv6_with_extensions(&v2_header(0x21, 0x21, 300))]
    #[case::v2_unix(&v2_header(0x21, 0x31, 216))]
    #[case::v2_local(&v2_header(0x20, 0, 0))]
    #[case::v2_longest(&v2_header(0x21, 0x11, MAX_HEADER - FIXED_V2))]
    fn a_header_ends_where_it_ends(#[case] header: &[u8]) {
        for end in 0..header.len() {
            assert_eq!(super::header(&header[..end]), Parsed::Partial, "{end} bytes");
        }
        let followed = [header, b"GET / HTTP/1.1\r\n"].concat();
        let expected = Parsed::Complete { head: (), len: header.len() };
        assert_eq!(super::header(&followed), expected);
    }

    #[rstest]
    #[case::longer_word(b"PROXY UNKNOWNS HTTP/1.1\r\n")]
    #[case::no_end(&[b"PROXY TCP4 ", &[b'1'; MAX_V1][..]].concat())]
    #[case::end_too_late(&[b"PROXY TCP4 ", &[b'1'; MAX_V1 - 12][..], b"\r\n"].concat())]
    #[case::bare_lf(b"PROXY TCP4 192.0.2.7\n")]
    #[case::bare_cr(b"PROXY TCP4 192.0.2.7\rG")]
    #[case::control_character(b"PROXY TCP4 192\x01")]
    #[case::version(&v2_header(0x11, 0x11, 12))]
    #[case::command(&v2_header(0x22, 0x11, 12))]
    #[case::family(&v2_header(0x21, 0x41, 12))]
    #[case::transport(&v2_header(0x21, 0x13, 12))]
    #[case::too_long(&v2_header(0x21, 0x11, MAX_HEADER - FIXED_V2 + 1))]
    fn what_no_server_takes_is_no_header(#[case] header: &[u8]) {
        assert_eq!(super::header(header), Parsed::Unframed(Reason::ProxyHeader));
    }

    proptest! {
        /// More bytes never change an answer, and a header ends within the bytes.
        #[test]
        fn an_answer_is_final(
            first in prop::sample::select(vec![V1[0], V1[1], V1[2], &V2[..]]),
            rest in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "[0-9. ]{0,90}(\r\n)?.{0,9}".prop_map(String::into_bytes),
            ],
        ) {
            let bytes = [first, &rest].concat();
            let mut last = Parsed::Partial;
            for end in 0..=bytes.len() {
                let now = header(&bytes[..end]);
                if last != Parsed::Partial {
                    prop_assert_eq!(&now, &last);
                }
                if let Parsed::Complete { len, .. } = now {
                    prop_assert!(len <= end);
                }
                last = now;
            }
        }
    }
}
