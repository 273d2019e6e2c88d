//! Single requests. Sequences of them are in `tests/`.

use rstest::rstest;

use super::*;
use crate::http1::MAX_HEAD;

/// Method, request target, host, path, the body unless it is empty, and what follows it.
type Found = (String, String, Option<String>, String, Option<Body>, After);

fn parse(bytes: &[u8]) -> Parsed<Found> {
    let mut storage = Storage::new();
    match request(bytes, &mut HeadScan::default(), &mut storage) {
        Parsed::Partial => Parsed::Partial,
        Parsed::Unframed(reason) => Parsed::Unframed(reason),
        Parsed::Complete { head, len } => {
            let body = (!head.body.is_done()).then(|| head.body.clone());
            let host = head.host().map(str::to_owned);
            let (method, target, path) =
                (head.method().to_owned(), head.target().to_owned(), head.path());
            Parsed::Complete {
                head: (method, target, host, path.to_owned(), body, head.after),
                len,
            }
        }
    }
}

fn complete(bytes: &[u8]) -> Found {
    match parse(bytes) {
        Parsed::Complete { head, len } => {
            assert_eq!(len, bytes.len());
            head
        }
        other => panic!("{other:?}"),
    }
}

fn reason(bytes: &[u8]) -> Reason {
    match parse(bytes) {
        Parsed::Unframed(reason) => reason,
        other => panic!("{other:?}"),
    }
}

/// Start line, host and path: RFC 9112 sections 3.2.1 to 3.2.4 and 3.3.
#[rstest]
#[case::origin("GET /a?b=c HTTP/1.1", Some("shop:80"), "/a?b=c")]
#[case::double_slash("GET //evil/x HTTP/1.1", Some("shop:80"), "//evil/x")]
#[case::url_in_the_query("GET /?to=http://a/ HTTP/1.1", Some("shop:80"), "/?to=http://a/")]
#[case::absolute("GET http://Other:81/a?b HTTP/1.1", Some("Other:81"), "/a?b")]
#[case::absolute_without_path("GET http://other HTTP/1.1", Some("other"), "/")]
#[case::absolute_with_query_only("GET http://other?a=/ HTTP/1.1", Some("other"), "?a=/")]
#[case::user_information("GET http://u:p@other/@ HTTP/1.1", Some("other"), "/@")]
#[case::ipv6("GET http://[fd00::1]:80/ HTTP/1.1", Some("[fd00::1]:80"), "/")]
#[case::no_authority("GET file:///etc HTTP/1.1", None, "/etc")]
#[case::no_scheme("GET 1a://b/ HTTP/1.1", Some("shop:80"), "1a://b/")]
#[case::asterisk("OPTIONS * HTTP/1.1", Some("shop:80"), "*")]
#[case::authority("CONNECT other:443 HTTP/1.1", Some("other:443"), "")]
#[case::not_ascii("GET /\u{fc} HTTP/1.1", Some("shop:80"), "/\u{fc}")]
#[case::http10("GET /old HTTP/1.0", Some("shop:80"), "/old")]
#[case::longest_method("UPDATEREDIRECTREF /a HTTP/1.1", Some("shop:80"), "/a")]
#[case::lower_case_method("get /a HTTP/1.1", Some("shop:80"), "/a")]
fn targets(#[case] line: &str, #[case] host: Option<&str>, #[case] path: &str) {
    let found = complete(format!("{line}\r\nHost: shop:80\r\n\r\n").as_bytes());
    let mut words = line.split(' ');
    assert_eq!((Some(&found.0[..]), Some(&found.1[..])), (words.next(), words.next()));
    assert_eq!((found.2.as_deref(), &found.3[..]), (host, path));
}

/// A server has to refuse all but the first, RFC 9112 section 3.2. The end of the message is not in
/// doubt.
#[rstest]
#[case("host:\t[fd00::1] ", Some("[fd00::1]"))]
#[case("X-Host: a", None)]
#[case("Host: a\r\nHost: a", None)]
#[case("Host: a\r\nHost: b", None)]
#[case("Host:", None)]
#[case("Host: \u{fc}", Some("\u{fc}"))]
fn hosts(#[case] field: &str, #[case] host: Option<&str>) {
    assert_eq!(
        complete(format!("GET / HTTP/1.1\r\n{field}\r\n\r\n").as_bytes()).2.as_deref(),
        host
    );
}

#[test]
fn header_values_are_as_sent() {
    let bytes =
        b"GET / HTTP/1.1\r\nX-User:  a b \t\r\nx-users: no\r\nx-USER: \xff\r\nX-User:\r\n\r\n";
    let mut storage = Storage::new();
    let Parsed::Complete { head, .. } = request(bytes, &mut HeadScan::default(), &mut storage)
    else {
        panic!("is complete")
    };
    let mut values = Vec::new();
    head.header_values("X-User", |value| values.push(value));
    assert_eq!(values, [&b"a b"[..], b"\xff", b""]);
    assert_eq!((head.version.as_str(), head.headers.len()), ("HTTP/1.1", 4));
}

/// RFC 9112 sections 6.1 to 6.3, 7.1, 9.3; RFC 9110 section 7.8.
#[rstest]
#[case::nothing("GET / HTTP/1.1", "A: b", None, After::Keep)]
#[case::length("GET / HTTP/1.1", "Content-Length: 5", Some(Body::length(5)), After::Keep)]
#[case::white_space("PUT / HTTP/1.1", "CONTENT-LENGTH:\t 5 \t", Some(Body::length(5)), After::Keep)]
#[case::zero("PUT / HTTP/1.1", "Content-Length: 0", None, After::Keep)]
#[case::same(
    "PUT / HTTP/1.1",
    "Content-Length: 5\r\ncontent-length: 5",
    Some(Body::length(5)),
    After::Keep
)]
#[case::chunked("PUT / HTTP/1.1", "Transfer-Encoding: chunked", Some(Body::chunked()), After::Keep)]
#[case::case("PUT / HTTP/1.1", "transfer-ENCODING: Chunked", Some(Body::chunked()), After::Keep)]
#[case::other_names(
    "PUT / HTTP/1.1",
    "Content-Lengt: 5\r\nXransfer-Encoding: x",
    None,
    After::Keep
)]
#[case::close("GET / HTTP/1.1", "Connection: close", None, After::Close)]
#[case::close_in_a_list("GET / HTTP/1.1", "Connection: a ,CLOSE,b", None, After::Close)]
#[case::close_wins(
    "GET / HTTP/1.1",
    "Connection: keep-alive\r\nConnection: close",
    None,
    After::Close
)]
#[case::not_close("GET / HTTP/1.1", "Connection: closed, \"close\"", None, After::Keep)]
#[case::http10("GET / HTTP/1.0", "Host: a", None, After::Close)]
#[case::http10_kept("GET / HTTP/1.0", "Connection: Keep-Alive", None, After::Keep)]
#[case::websocket(
    "GET / HTTP/1.1",
    "Upgrade: websocket\r\nConnection: Upgrade",
    None,
    After::Upgrade
)]
#[case::without_connection("GET / HTTP/1.1", "upgrade: h2c", None, After::Upgrade)]
#[case::upgrade_with_body(
    "PUT / HTTP/1.1",
    "Upgrade: x\r\nContent-Length: 5",
    Some(Body::length(5)),
    After::Upgrade
)]
#[case::connect("CONNECT a:1 HTTP/1.1", "Host: a:1", None, After::Connect)]
#[case::connect_without_content("CONNECT a:1 HTTP/1.1", "Content-Length: 0", None, After::Connect)]
fn framing(
    #[case] line: &str,
    #[case] fields: &str,
    #[case] body: Option<Body>,
    #[case] after: After,
) {
    let found = complete(format!("{line}\r\n{fields}\r\n\r\n").as_bytes());
    assert_eq!((found.4, found.5), (body, after));
}

#[rstest]
// RFC 9112 section 6.3: lengths.
#[case::two_lengths("Content-Length: 5\r\nContent-Length: 6", Reason::ContentLength)]
#[case::list("Content-Length: 5, 5", Reason::ContentLength)]
#[case::sign("Content-Length: +5", Reason::ContentLength)]
#[case::negative("Content-Length: -0", Reason::ContentLength)]
#[case::no_number("Content-Length:", Reason::ContentLength)]
#[case::inner_space("Content-Length: 1 2", Reason::ContentLength)]
#[case::octal("Content-Length: 010", Reason::ContentLength)]
#[case::hexadecimal("Content-Length: 0xa", Reason::ContentLength)]
#[case::overflow("Content-Length: 18446744073709551617", Reason::ContentLength)]
#[case::quoted("Content-Length: \"5\"", Reason::ContentLength)]
#[case::variable("Content_Length: 5", Reason::HeaderName)]
// Section 6.1: codings.
#[case::both("Content-Length: 5\r\nTransfer-Encoding: chunked", Reason::LengthAndEncoding)]
#[case::both_the_other_way(
    "Transfer-Encoding: chunked\r\nContent-Length: 0",
    Reason::LengthAndEncoding
)]
#[case::gzip("Transfer-Encoding: gzip, chunked", Reason::TransferEncoding)]
#[case::not_last("Transfer-Encoding: chunked, gzip", Reason::TransferEncoding)]
#[case::identity("Transfer-Encoding: identity", Reason::TransferEncoding)]
#[case::twice("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Reason::TransferEncoding)]
#[case::two_codings(
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    Reason::TransferEncoding
)]
#[case::comma("Transfer-Encoding: chunked,", Reason::TransferEncoding)]
#[case::parameter("Transfer-Encoding: chunked;a=b", Reason::TransferEncoding)]
#[case::x_chunked("Transfer-Encoding: xchunked", Reason::TransferEncoding)]
#[case::quoted_coding("Transfer-Encoding: \"chunked\"", Reason::TransferEncoding)]
#[case::no_coding("Transfer-Encoding:", Reason::TransferEncoding)]
#[case::no_break_space("Transfer-Encoding: chunked\u{a0}", Reason::TransferEncoding)]
#[case::coding_as_variable("transfer_encoding: chunked", Reason::HeaderName)]
// Sections 5.1 and 5.2: names and lines.
#[case::space_before_colon("Content-Length : 5", Reason::HeaderName)]
#[case::tab_before_colon("Transfer-Encoding\t: chunked", Reason::HeaderName)]
#[case::no_name(": 5", Reason::HeaderName)]
#[case::no_colon("Content-Length", Reason::HeaderName)]
#[case::folded_coding("Transfer-Encoding:\r\n chunked", Reason::HeaderName)]
#[case::folded_length("Content-Length: 1\r\n 2", Reason::HeaderName)]
#[case::folded_field("A: b\r\n Content-Length: 5", Reason::HeaderName)]
#[case::folded_space("A: b\r\n ", Reason::HeaderName)]
#[case::framing_in_brackets("Content[-]Length: 5", Reason::HeaderName)]
#[case::space_in_name("A b: c", Reason::HeaderName)]
#[case::not_ascii_in_name("A\u{e9}: c", Reason::HeaderName)]
#[case::control_in_name("Transfer-Encoding\u{b}: chunked", Reason::HeaderName)]
#[case::byte_in_name("Transfer-Encoding\u{a0}: chunked", Reason::HeaderName)]
// RFC 9110 section 5.5: values.
#[case::nul("A: b\0c", Reason::HeaderValue)]
#[case::vertical_tab("Transfer-Encoding: \u{b}chunked", Reason::TransferEncoding)]
#[case::control_in_a_length("Content-Length: 5\u{1}", Reason::ContentLength)]
// RFC 9112 section 2.2: ends of lines.
#[case::bare_lf("A: b\nContent-Length: 5", Reason::LineEnd)]
#[case::bare_lf_before_crlf("A: b\n\r\nC: d", Reason::LineEnd)]
#[case::bare_cr("A: b\rContent-Length: 5", Reason::HeaderValue)]
#[case::cr_crlf("A: b\r\r\nC: d", Reason::HeaderValue)]
fn doubtful_fields(#[case] fields: &str, #[case] expected: Reason) {
    assert_eq!(
        reason(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").as_bytes()),
        expected
    );
}

/// The number of bytes after which it is refused, and the reason.
#[rstest]
#[case::old("GET /\r\n", 7, Reason::Http09)]
#[case::memcached("get key\r\n", 9, Reason::Http09)]
#[case::memcached_set("set key 0 0 5\r\n", 9, Reason::NotHttp)]
#[case::http2("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 12, Reason::Version)]
#[case::http12("GET / HTTP/1.2\r\n", 14, Reason::Version)]
#[case::http1("GET / HTTP/1\r\n", 13, Reason::Version)]
#[case::long_version("GET / HTTP/1.10\r\n", 15, Reason::Version)]
#[case::lower_version("GET / http/1.1\r\n", 7, Reason::NotHttp)]
#[case::rtsp("OPTIONS rtsp://a RTSP/1.0\r\n", 18, Reason::NotHttp)]
#[case::two_spaces_and_a_word("GET  /  a HTTP/1.1\r\n", 9, Reason::NotHttp)]
#[case::tab("GET\t/ HTTP/1.1\r\n", 4, Reason::NotHttp)]
#[case::tab_after_target("GET /\tHTTP/1.1\r\n", 16, Reason::Http09)]
#[case::space_in_target("GET /a b HTTP/1.1\r\n", 8, Reason::NotHttp)]
#[case::space_after_version("GET / HTTP/1.1 \r\n", 15, Reason::Version)]
#[case::nul_in_target("GET /\0 HTTP/1.1\r\n", 6, Reason::NotHttp)]
#[case::space_in_front(" GET / HTTP/1.1\r\n", 1, Reason::NotHttp)]
#[case::lf_in_front("\nGET / HTTP/1.1\r\n", 1, Reason::LineEnd)]
#[case::cr_in_front("\rGET / HTTP/1.1\r\n", 2, Reason::NotHttp)]
#[case::bare_lf("GET / HTTP/1.1\n", 15, Reason::LineEnd)]
#[case::byte_order_mark("\u{feff}GET / HTTP/1.1\r\n", 1, Reason::NotHttp)]
#[case::digit("GET1 / HTTP/1.1\r\n", 4, Reason::NotHttp)]
#[case::no_method("/ HTTP/1.1\r\n", 1, Reason::NotHttp)]
#[case::long_method("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGH / HTTP/1.1\r\n", 33, Reason::NotHttp)]
#[case::lower_head("head / HTTP/1.1\r\n", 17, Reason::Method)]
#[case::lower_connect("Connect a:1 HTTP/1.1\r\n", 22, Reason::Method)]
#[case::response("HTTP/1.1 200 OK\r\n", 5, Reason::NotHttp)]
#[case::ssh("SSH-2.0-OpenSSH_9.2\r\n", 5, Reason::NotHttp)]
#[case::tls("\u{16}\u{3}\u{1}", 1, Reason::NotHttp)]
#[case::redis("*1\r\n$4\r\nPING\r\n", 1, Reason::NotHttp)]
#[case::smtp("EHLO mail.example\r\n", 19, Reason::Http09)]
#[case::header_line("GET / HTTP/1.1\r\nno header\r\n", 27, Reason::HeaderName)]
#[case::folded_first("GET / HTTP/1.1\r\n A: b\r\n", 23, Reason::HeaderName)]
fn other_bytes_are_refused_early(
    #[case] text: &str,
    #[case] enough: usize,
    #[case] expected: Reason,
) {
    for end in 0..=text.len() {
        let mut scan = HeadScan::default();
        let mut storage = Storage::new();
        // The bytes arrive one by one.
        let parsed = (0..=end).map(|end| &text.as_bytes()[..end]).find_map(|bytes| {
            match request(bytes, &mut scan, &mut storage) {
                Parsed::Partial => None,
                Parsed::Unframed(reason) => Some(reason),
                Parsed::Complete { .. } => panic!("is complete"),
            }
        });
        assert_eq!(parsed, (end >= enough).then_some(expected), "{end} bytes");
    }
}

#[test]
fn empty_lines_in_front_belong_to_the_head() {
    assert_eq!(complete(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n").0, "GET");
    assert_eq!(parse(b"\r\n\r\n"), Parsed::Partial);
}

#[test]
fn connect_has_no_content() {
    let head = |field| format!("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n{field}\r\n\r\n");
    assert_eq!(reason(head("Content-Length: 5").as_bytes()), Reason::ConnectWithContent);
    assert_eq!(reason(head("Transfer-Encoding: chunked").as_bytes()), Reason::ConnectWithContent);
}

#[test]
fn a_transfer_encoding_needs_http11() {
    let head = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(reason(head), Reason::TransferEncodingIn10);
}

/// The fields that can be read of a head whose end is not in doubt.
#[rstest]
#[case::control_character("A: b\u{1}c\r\nD: e", &["a: b\u{fffd}c", "d: e"])]
#[case::delete("A: \u{7f}", &["a: \u{fffd}"])]
#[case::brackets("X[0]: a\r\nB: c", &["b: c"])]
#[case::slash("A/b: c", &[])]
#[case::folded("A: b\r\n c\r\n\td: e\r\nF: g", &["a: b c d: e", "f: g"])]
#[case::folded_behind_odd_name("X[0]: a\r\n b\r\nC: d", &["c: d"])]
#[case::length_behind_odd_field("X[0]: a\r\nContent-Length: 5", &["content-length: 5"])]
fn odd_fields_do_not_hide_the_others(#[case] fields: &str, #[case] expected: &[&str]) {
    let head = format!("GET /caf\u{e9} HTTP/1.1\r\n{fields}\r\n\r\nGET /next");
    let mut storage = Storage::new();
    let parsed = request(head.as_bytes(), &mut HeadScan::default(), &mut storage);
    let Parsed::Complete { head: found, len } = parsed else { panic!("{parsed:?}") };
    assert_eq!(&head[len..], "GET /next");
    let lines = found.headers.iter().map(|header| {
        let value = str::from_utf8(header.value).expect("UTF-8");
        format!("{}: {value}", header.name.to_ascii_lowercase())
    });
    assert_eq!(lines.collect::<Vec<_>>(), expected);
    assert_eq!(found.body.unseen(), Some(if fields.contains("Length") { 5 } else { 0 }));
}

#[test]
fn several_spaces_are_as_one() {
    let found = complete(b"GET  /a   HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((&*found.0, &*found.1), ("GET", "/a"));
}

#[test]
fn a_target_that_is_not_utf8_is_read_as_far_as_possible() {
    assert_eq!(complete(b"GET /caf\xe9 HTTP/1.1\r\nHost: a\r\n\r\n").3, "/caf\u{fffd}");
}

/// A head with odd fields is as good in pieces.
#[test]
fn odd_fields_may_arrive_byte_by_byte() {
    let head = b"GET /\xe9 HTTP/1.1\r\nX[0]: a\r\nB: c\x01\r\n d\r\nE: f\r\n\r\n";
    let mut scan = HeadScan::default();
    for end in 0..head.len() {
        let mut storage = Storage::new();
        let parsed = request(&head[..end], &mut scan, &mut storage);
        assert!(matches!(parsed, Parsed::Partial), "{end} bytes: {parsed:?}");
    }
    let mut storage = Storage::new();
    let parsed = request(head, &mut scan, &mut storage);
    assert!(matches!(parsed, Parsed::Complete { .. }), "{parsed:?}");
}

#[test]
fn a_head_may_have_any_number_of_fields() {
    let head = |fields| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(fields));
    for fields in [0, 1, 128, 129, 10_000] {
        let head = head(fields);
        let mut storage = Storage::new();
        let parsed = request(head.as_bytes(), &mut HeadScan::default(), &mut storage);
        let Parsed::Complete { head: found, len } = parsed else { panic!("{fields} fields") };
        assert_eq!((found.headers.len(), len), (fields, head.len()));
    }
}

#[test]
fn a_head_has_a_maximum_length() {
    let head = |length: usize| {
        let rest = "GET / HTTP/1.1\r\nCookie: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "a".repeat(length - rest)).into_bytes()
    };
    assert_eq!(complete(&head(MAX_HEAD)).0, "GET");
    assert_eq!(reason(&head(MAX_HEAD + 1)), Reason::HeadTooLong);
    assert_eq!(reason(&b"\r\n".repeat(MAX_HEAD / 2)), Reason::HeadTooLong);
    let target = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_HEAD));
    assert_eq!(reason(target.as_bytes()), Reason::HeadTooLong);
}
