//! Single responses. Sequences of them are in `tests/`.

use rstest::rstest;

use super::*;

const GET: Asked = Asked { kind: Kind::Other, upgrade: false, close: false };
const LAST: Asked = Asked { close: true, ..GET };
const HEAD: Asked = Asked { kind: Kind::Head, ..GET };
const CONNECT: Asked = Asked { kind: Kind::Connect, ..GET };
const UPGRADE: Asked = Asked { upgrade: true, ..GET };

fn parse(bytes: &[u8], to: Asked) -> Parsed<(u16, Body, After, bool)> {
    let mut storage = Storage::new();
    match response(bytes, to, &mut HeadScan::default(), &mut storage) {
        Parsed::Partial => Parsed::Partial,
        Parsed::Unframed(reason) => Parsed::Unframed(reason),
        Parsed::Complete { head, len } => Parsed::Complete {
            head: (head.status, head.body.clone(), head.after, head.is_interim()),
            len,
        },
    }
}

const NONE: Body = Body::NONE;
const FIVE: &str = "Content-Length: 5";
const CHUNKED: &str = "Transfer-Encoding: chunked";

/// The rules of RFC 9112 section 6.3, in its order.
#[rstest]
#[case::head(HEAD, "200", FIVE, NONE, After::Keep)]
#[case::head_chunked(HEAD, "200", CHUNKED, NONE, After::Keep)]
#[case::head_with_both(
    HEAD,
    "200",
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    NONE,
    After::Keep
)]
#[case::head_without_length(HEAD, "200", "A: b", NONE, After::Keep)]
#[case::interim(GET, "100", FIVE, NONE, After::Keep)]
#[case::early_hints(LAST, "103", "Connection: close", NONE, After::Keep)]
#[case::interim_to_connect(CONNECT, "102", "A: b", NONE, After::Keep)]
#[case::no_content(GET, "204", FIVE, NONE, After::Keep)]
#[case::not_modified(GET, "304", FIVE, NONE, After::Keep)]
#[case::not_modified_chunked(GET, "304", CHUNKED, NONE, After::Keep)]
#[case::no_content_then_close(GET, "204", "Connection: close", NONE, After::Close)]
#[case::tunnel(CONNECT, "200", FIVE, NONE, After::Connect)]
#[case::tunnel_too(CONNECT, "299", CHUNKED, NONE, After::Connect)]
#[case::no_tunnel(CONNECT, "407", FIVE, Body::length(5), After::Keep)]
#[case::switched(UPGRADE, "101", "Upgrade: websocket", NONE, After::Upgrade)]
#[case::not_switched(UPGRADE, "426", FIVE, Body::length(5), After::Keep)]
#[case::not_switched_but_done(UPGRADE, "200", CHUNKED, Body::chunked(), After::Keep)]
#[case::chunked(GET, "200", CHUNKED, Body::chunked(), After::Keep)]
#[case::length(GET, "200", FIVE, Body::length(5), After::Keep)]
#[case::reset_content(GET, "205", FIVE, Body::length(5), After::Keep)]
#[case::empty(GET, "404", "Content-Length: 0", NONE, After::Keep)]
#[case::odd_status(GET, "999", FIVE, Body::length(5), After::Keep)]
#[case::until_close(GET, "200", "A: b", Body::until_close(), After::Close)]
#[case::until_close_kept(GET, "200", "Connection: keep-alive", Body::until_close(), After::Close)]
#[case::server_closes(
    GET,
    "200",
    "Content-Length: 5\r\nConnection: close",
    Body::length(5),
    After::Close
)]
#[case::client_closes(LAST, "200", "Content-Length: 5", Body::length(5), After::Close)]
fn framing(
    #[case] to: Asked,
    #[case] status: &str,
    #[case] fields: &str,
    #[case] body: Body,
    #[case] after: After,
) {
    let bytes = format!("HTTP/1.1 {status} Words\r\n{fields}\r\n\r\n");
    let code = status.parse().expect("status");
    let interim = matches!(code, 100 | 102 | 103);
    let expected = Parsed::Complete { head: (code, body, after, interim), len: bytes.len() };
    assert_eq!(parse(bytes.as_bytes(), to), expected);
    // Fewer bytes are a part of a head.
    for end in 0..bytes.len() {
        assert_eq!(parse(&bytes.as_bytes()[..end], to), Parsed::Partial, "{end} bytes");
    }
}

/// In HTTP/1.0, a connection stays open only if both sides ask for it: RFC 9112 section 9.3.
#[rstest]
#[case("Content-Length: 5", Body::length(5), After::Close)]
#[case("Content-Length: 5\r\nConnection: keep-alive", Body::length(5), After::Keep)]
#[case("Connection: keep-alive", Body::until_close(), After::Close)]
fn http10(#[case] fields: &str, #[case] body: Body, #[case] after: After) {
    let bytes = format!("HTTP/1.0 200 OK\r\n{fields}\r\n\r\n");
    let expected = Parsed::Complete { head: (200, body, after, false), len: bytes.len() };
    assert_eq!(parse(bytes.as_bytes(), GET), expected);
}

/// The reason phrase may be missing (RFC 9112 section 4). Some servers leave out its space too.
#[rstest]
#[case("HTTP/1.1 200 OK\r\n\r\n")]
#[case("HTTP/1.1 200 \r\n\r\n")]
#[case("HTTP/1.1 200\r\n\r\n")]
#[case("HTTP/1.1 200 Tout est \u{e0} point\r\n\r\n")]
#[case::folded("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n")]
#[case::odd_name("HTTP/1.1 200 OK\r\nA[0]: b\r\n\r\n")]
#[case::control_character("HTTP/1.1 200 OK\r\nA: \u{7}\r\n\r\n")]
fn status_lines(#[case] bytes: &str) {
    let expected = Parsed::Complete {
        head: (200, Body::until_close(), After::Close, false),
        len: bytes.len(),
    };
    assert_eq!(parse(bytes.as_bytes(), GET), expected);
}

/// The number of bytes after which it is refused, and the reason.
#[rstest]
#[case::empty_line("\r\nHTTP/1.1 200 OK\r\n\r\n", 1, Reason::NotHttp)]
#[case::html("<html>", 1, Reason::NotHttp)]
#[case::mysql("J\0\0\0\n8.0", 1, Reason::NotHttp)]
#[case::ssh("SSH-2.0-x\r\n", 1, Reason::NotHttp)]
#[case::http2("HTTP/2 200\r\n", 6, Reason::Version)]
#[case::http12("HTTP/1.2 200\r\n", 8, Reason::Version)]
#[case::shoutcast("ICY 200 OK\r\n", 1, Reason::NotHttp)]
#[case::lower_case("http/1.1 200 OK\r\n", 1, Reason::NotHttp)]
#[case::no_status("HTTP/1.1 OK\r\n", 13, Reason::StartLine)]
#[case::short_status("HTTP/1.1 20 OK\r\n", 16, Reason::StartLine)]
#[case::long_status("HTTP/1.1 2000 OK\r\n", 18, Reason::StartLine)]
#[case::small_status("HTTP/1.1 099 x\r\n\r\n", 18, Reason::StartLine)]
#[case::unasked("HTTP/1.1 101 x\r\n\r\n", 18, Reason::UnaskedUpgrade)]
#[case::bare_lf("HTTP/1.1 200 OK\n\n", 16, Reason::LineEnd)]
#[case::space_before_colon("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", 24, Reason::HeaderName)]
#[case::two_lengths(
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    57,
    Reason::ContentLength
)]
#[case::both(
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    66,
    Reason::LengthAndEncoding
)]
#[case::gzip("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", 44, Reason::TransferEncoding)]
#[case::http10(
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    47,
    Reason::TransferEncodingIn10
)]
fn other_bytes_are_refused_early(
    #[case] text: &str,
    #[case] enough: usize,
    #[case] expected: Reason,
) {
    for end in 0..=text.len() {
        let expected = if end < enough { Parsed::Partial } else { Parsed::Unframed(expected) };
        assert_eq!(parse(&text.as_bytes()[..end], GET), expected, "{end} bytes");
    }
}
