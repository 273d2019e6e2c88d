//! Tells which protocol a client speaks by its first bytes.

use crate::{http1::MAX_METHOD, proxy};

/// The connection preface of an HTTP/2 client, RFC 9113 section 3.4.
pub const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first bytes of a TLS record that carries a handshake, RFC 8446 section 5.1: its type and the
/// major version.
pub const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];

/// The protocol of a client, as far as its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opening {
    /// More bytes are needed.
    Undecided,
    /// A method, or a word that looks like one. [`http1::request`](crate::http1::request()) may
    /// still refuse it.
    Http1,
    /// The whole [`HTTP2_PREFACE`].
    Http2Preface,
    /// A TLS handshake record. [`client_hello`](crate::hello::client_hello) may still refuse it.
    Tls,
    /// A PROXY protocol header, which is before the client's own first bytes.
    /// [`proxy::header`] finds its end.
    Proxy,
    /// Anything else.
    Other,
}

/// Classifies the first bytes of a client. The answer is final as soon as it is not
/// [`Opening::Undecided`], which is at the first byte that makes a difference.
pub fn opening(bytes: &[u8]) -> Opening {
    let [record_type, major_version] = TLS_HANDSHAKE;
    if bytes.first() == Some(&record_type) {
        return match bytes.get(1) {
            None => Opening::Undecided,
            Some(version) if *version == major_version => Opening::Tls,
            Some(_) => Opening::Other,
        };
    }
    if bytes.starts_with(HTTP2_PREFACE) {
        return Opening::Http2Preface;
    }
    let proxy = || proxy::V1.iter().copied().chain([&proxy::V2[..]]);
    if proxy().any(|first| bytes.starts_with(first)) {
        return Opening::Proxy;
    }
    if HTTP2_PREFACE.starts_with(bytes) || proxy().any(|first| first.starts_with(bytes)) {
        return Opening::Undecided;
    }
    let mut rest = bytes;
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        rest = after;
    }
    if matches!(rest, [] | [b'\r']) {
        return Opening::Undecided;
    }
    let end =
        rest.iter().take(MAX_METHOD + 1).position(|byte| !crate::http1::is_method_byte(*byte));
    match end {
        None if rest.len() <= MAX_METHOD => Opening::Undecided,
        Some(1..) if end.is_some_and(|end| rest[end] == b' ') => Opening::Http1,
        _ => Opening::Other,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The number of bytes that the decision takes, and the decision.
    #[rstest]
    #[case::get(b"GET / HTTP/1.1\r\n", 4, Opening::Http1)]
    #[case::custom_method(b"M-SEARCH * HTTP/1.1\r\n", 9, Opening::Http1)]
    #[case::empty_line(b"\r\n\r\nPOST /", 9, Opening::Http1)]
    #[case::begins_like_the_preface(b"PROPFIND /", 9, Opening::Http1)]
    #[case::method_of_the_preface(b"PRI / HTTP/1.1", 5, Opening::Http1)]
    #[case::preface(HTTP2_PREFACE, 24, Opening::Http2Preface)]
    #[case::broken_preface(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", 24, Opening::Http1)]
    #[case::http1_like_the_preface(b"PRI * HTTP/1.1\r\n", 12, Opening::Http1)]
    #[case::tls(b"\x16\x03\x01\x02\x00\x01", 2, Opening::Tls)]
    #[case::not_tls(b"\x16\x02", 2, Opening::Other)]
    #[case::ssh(b"SSH-2.0-OpenSSH_9.2p1\r\n", 5, Opening::Other)]
    #[case::redis(b"*1\r\n$4\r\nPING\r\n", 1, Opening::Other)]
    #[case::redis_inline(b"PING\r\n", 5, Opening::Other)]
    #[case::postgres(b"\0\0\0\x08\x04\xd2\x16\x2f", 1, Opening::Other)]
    #[case::mysql(b"\x4a\0\0\0\x0a8.0.36", 2, Opening::Other)]
    #[case::mqtt(b"\x10\x0c\0\x04MQTT", 1, Opening::Other)]
    #[case::amqp(b"AMQP\0\0\x09\x01", 5, Opening::Other)]
    #[case::proxy_v2(b"\r\n\r\n\0\r\nQUIT\n\x21\x11", 12, Opening::Proxy)]
    #[case::no_proxy_v2(b"\r\n\r\n\0\r\nQUIT\r", 12, Opening::Other)]
    #[case::proxy_v1(b"PROXY TCP4 192.0.2.7", 11, Opening::Proxy)]
    #[case::proxy_v1_ipv6(b"PROXY TCP6 2001:db8::7", 11, Opening::Proxy)]
    #[case::proxy_v1_unknown(b"PROXY UNKNOWN\r\n", 13, Opening::Proxy)]
    #[case::method_proxy(b"PROXY / HTTP/1.1\r\n", 7, Opening::Http1)]
    #[case::smtp(b"EHLO\r\n", 5, Opening::Other)]
    #[case::bare_lf(b"\nGET / HTTP/1.1", 1, Opening::Other)]
    #[case::long_word(b"abcdefghijklmnopqrstuvwxyzabcdefghijklm /", 33, Opening::Other)]
    fn decided_with(#[case] bytes: &[u8], #[case] enough: usize, #[case] expected: Opening) {
        for end in 0..=bytes.len() {
            let opening = opening(&bytes[..end]);
            assert_eq!(
                opening,
                if end < enough { Opening::Undecided } else { expected },
                "{end} bytes"
            );
        }
    }
}
