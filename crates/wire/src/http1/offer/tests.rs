use rstest::rstest;

use super::*;
use crate::{
    Parsed,
    http1::{HeadScan, Storage, request, response},
};

/// The head of the request that a JDK client sends first.
const JDK: &str = "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 0\r\n\
                   Host: web\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n\
                   Upgrade: h2c\r\nUser-Agent: Java-http-client/17\r\n\r\n";

/// A request with these lines.
fn head(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: web\r\n{lines}\r\n")
}

/// What a request says.
struct Said {
    offers_requests: bool,
    asked: Asked,
    asked_without_offers: Asked,
    settings: Option<Box<[u8]>>,
}

fn read(head: &str) -> Said {
    let mut storage = Storage::new();
    let parsed = request(head.as_bytes(), &mut HeadScan::default(), &mut storage);
    let Parsed::Complete { head, .. } = parsed else { panic!("{parsed:?}") };
    Said {
        offers_requests: head.offers_requests(),
        asked: head.asked(),
        asked_without_offers: head.asked_without_offers(),
        settings: head.http2_settings(),
    }
}

#[rstest]
#[case("Upgrade: h2c\r\n", true)]
#[case("upgrade: foo/1, H2C\r\n", true)]
#[case("Upgrade: foo\r\nUpgrade: h2c-14\r\n", true)]
#[case("Upgrade: TLS/1.0\r\n", true)]
#[case("Upgrade: HTTP/2.0\r\n", true)]
#[case("Upgrade: websocket\r\n", false)]
#[case("Upgrade: h2cc, tlsx\r\n", false)]
#[case("Connection: h2c\r\n", false)]
fn a_request_offers_what_its_upgrade_lists(#[case] lines: &str, #[case] expected: bool) {
    assert_eq!(read(&head(lines)).offers_requests, expected);
}

#[rstest]
// All that a client sends for the offer is left out.
#[case("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", "")]
// What it sends for others stays, byte for byte.
#[case(
    "Connection: close,  HTTP2-Settings , Upgrade\r\nX:  y\r\nUPGRADE: h2c\r\n",
    "Connection: close\r\nX:  y\r\n"
)]
#[case(
    "Connection:Upgrade\r\nUpgrade: h2c, websocket\r\n",
    "Connection:Upgrade\r\nUpgrade: websocket\r\n"
)]
#[case("Upgrade:\r\n h2c\r\nX: y\r\n", "X: y\r\n")]
#[case(
    "Connection: keep-alive\r\nUpgrade: websocket\r\nX-Upgrade: h2c\r\n",
    "Connection: keep-alive\r\nUpgrade: websocket\r\nX-Upgrade: h2c\r\n"
)]
fn a_head_without_offers_keeps_all_other_bytes(#[case] lines: &str, #[case] expected: &str) {
    let without = without_offers(head(lines).as_bytes());
    assert_eq!(String::from_utf8_lossy(&without), head(expected));
}

#[test]
fn without_an_offer_the_response_may_not_switch() {
    for (lines, agrees) in [("Upgrade: h2c\r\n", false), ("Upgrade: h2c, websocket\r\n", true)] {
        let asked = read(&head(lines)).asked_without_offers;
        let mut storage = Storage::new();
        let switching = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n";
        let parsed = response(switching, asked, &mut HeadScan::default(), &mut storage);
        assert_eq!(matches!(parsed, Parsed::Complete { .. }), agrees, "{parsed:?}");
    }
}

#[test]
fn the_settings_of_a_client_are_read() {
    let settings = read(JDK).settings.expect("settings");
    let expected: [(u8, u32); 5] = [(1, 16384), (2, 1), (3, 100), (4, 1 << 24), (5, 16384)];
    let bytes =
        expected.iter().flat_map(|(id, value)| [&[0, *id][..], &value.to_be_bytes()].concat());
    assert_eq!(*settings, bytes.collect::<Vec<_>>());
}

#[rstest]
#[case::missing("Upgrade: h2c\r\n", None)]
#[case::twice("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nHTTP2-Settings: AAMAAABk\r\n", None)]
#[case::no_digit("Upgrade: h2c\r\nHTTP2-Settings: AAM+AABk\r\n", None)]
#[case::half_a_byte("Upgrade: h2c\r\nHTTP2-Settings: AAMAA\r\n", None)]
#[case::not_offered("Upgrade: websocket\r\nHTTP2-Settings: AAMAAABk\r\n", None)]
#[case::empty("Upgrade: h2c\r\nHTTP2-Settings: \r\n", Some(&[][..]))]
#[case::padded("Upgrade: h2c\r\nHTTP2-Settings: _-8=\r\n", Some(&[0xff, 0xef][..]))]
#[case::one_byte("Upgrade: h2c\r\nHTTP2-Settings: _w\r\n", Some(&[0xff][..]))]
fn settings_that_are_wrong_are_none(#[case] lines: &str, #[case] expected: Option<&[u8]>) {
    assert_eq!(read(&head(lines)).settings.as_deref(), expected);
}

#[rstest]
#[case("101 Switching Protocols", "Upgrade: h2c\r\nConnection: Upgrade\r\n", true)]
#[case("101 Switching Protocols", "Upgrade: websocket\r\n", false)]
#[case("101 Switching Protocols", "", false)]
#[case("200 OK", "Upgrade: h2c\r\nContent-Length: 0\r\n", false)]
fn a_response_switches_to_what_it_names(
    #[case] status: &str,
    #[case] lines: &str,
    #[case] expected: bool,
) {
    let asked = read(JDK).asked;
    let bytes = format!("HTTP/1.1 {status}\r\n{lines}\r\n");
    let mut storage = Storage::new();
    let parsed = response(bytes.as_bytes(), asked, &mut HeadScan::default(), &mut storage);
    let Parsed::Complete { head, .. } = parsed else { panic!("{parsed:?}") };
    assert_eq!(head.switches_to_http2(), expected);
}
