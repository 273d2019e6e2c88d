//! Framers event by event; that they agree with the parsers, and in any pieces, is in `tests/`.

use rstest::rstest;

use super::*;

/// An event without what it borrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Head(usize),
    Body(usize),
    End(After),
    Beyond(usize),
    Doubt(Reason),
}

use Seen::{Beyond, Doubt, End, Head};

fn seen<H>(event: &Event<H>) -> Option<(usize, Seen)> {
    match *event {
        Event::Head { len, .. } => Some((len, Head(len))),
        Event::Body(len) => Some((len, Seen::Body(len))),
        Event::End(after) => Some((0, End(after))),
        Event::Beyond(len) => Some((len, Beyond(len))),
        Event::Doubt(reason) => Some((0, Doubt(reason))),
        Event::NeedMore => None,
    }
}

fn requests(bytes: &[u8]) -> Vec<Seen> {
    let mut framer = RequestFramer::default();
    events(bytes, |bytes| seen(&framer.next(bytes, &mut Storage::new())))
}

fn responses(bytes: &[u8], asked: Asked) -> Vec<Seen> {
    let mut framer = ResponseFramer::default();
    events(bytes, |bytes| seen(&framer.next(bytes, asked, &mut Storage::new())))
}

fn events(bytes: &[u8], mut next: impl FnMut(&[u8]) -> Option<(usize, Seen)>) -> Vec<Seen> {
    let (mut at, mut events) = (0, Vec::new());
    while let Some((len, event)) = next(&bytes[at..]) {
        at += len;
        events.push(event);
    }
    events
}

fn asked(request: &str) -> Asked {
    let mut storage = Storage::new();
    let request = format!("{request}\r\n\r\n");
    match RequestFramer::default().next(request.as_bytes(), &mut storage) {
        Event::Head { head, .. } => head.asked(),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::no_body("GET / HTTP/1.1\r\n\r\n", &[Head(18), End(After::Keep)])]
#[case::begun("GET / HT", &[])]
#[case::length(
    "PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET",
    &[Head(37), Seen::Body(3), End(After::Keep)]
)]
#[case::last(
    "GET / HTTP/1.0\r\n\r\nGET /",
    &[Head(18), End(After::Close), Beyond(5)]
)]
#[case::declined(
    "GET / HTTP/1.1\r\nUpgrade: x\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    &[Head(30), End(After::Upgrade), Head(18), End(After::Keep)]
)]
#[case::doubt("GET /\r\nHost: a\r\n\r\n", &[Doubt(Reason::Http09), Beyond(18)])]
#[case::doubt_in_a_body(
    "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz",
    &[Head(46), Doubt(Reason::Chunk), Beyond(3)]
)]
fn requests_are(#[case] bytes: &str, #[case] expected: &[Seen]) {
    assert_eq!(requests(bytes.as_bytes()), expected);
}

#[rstest]
#[case::interim(
    "GET / HTTP/1.1",
    "HTTP/1.1 100 \r\n\r\nHTTP/1.1 204 \r\n\r\n",
    &[Head(17), Head(17), End(After::Keep)]
)]
#[case::until_close("GET / HTTP/1.1", "HTTP/1.1 200 \r\n\r\nabc", &[Head(17), Seen::Body(3)])]
#[case::head("HEAD / HTTP/1.1", "HTTP/1.1 200 \r\n\r\n", &[Head(17), End(After::Keep)])]
#[case::last(
    "GET / HTTP/1.1",
    "HTTP/1.1 204 \r\nConnection: close\r\n\r\nabc",
    &[Head(36), End(After::Close), Beyond(3)]
)]
#[case::switched(
    "GET / HTTP/1.1\r\nUpgrade: x",
    "HTTP/1.1 101 \r\n\r\nabc",
    &[Head(17), End(After::Upgrade), Beyond(3)]
)]
#[case::tunnel(
    "CONNECT a:1 HTTP/1.1",
    "HTTP/1.1 200 \r\n\r\nabc",
    &[Head(17), End(After::Connect), Beyond(3)]
)]
#[case::doubt("GET / HTTP/1.1", "ICY 200\r\n", &[Doubt(Reason::NotHttp), Beyond(9)])]
fn responses_are(#[case] request: &str, #[case] bytes: &str, #[case] expected: &[Seen]) {
    assert_eq!(responses(bytes.as_bytes(), asked(request)), expected);
}

#[test]
fn a_head_that_is_put_back_is_read_again() {
    let bytes = b"PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    let mut framer = RequestFramer::default();
    for _ in 0..3 {
        assert_eq!(seen(&framer.next(bytes, &mut Storage::new())), Some((37, Head(37))));
        framer.put_back_head();
    }
    let mut next = |bytes: &[u8]| {
        let event = seen(&framer.next(bytes, &mut Storage::new()));
        (event.map(|(_, event)| event), framer.is_at_end())
    };
    assert_eq!(next(bytes), (Some(Head(37)), false));
    assert_eq!(next(&bytes[37..]), (Some(Seen::Body(3)), true));
    assert_eq!(next(b""), (Some(End(After::Keep)), false));
    assert_eq!(next(b""), (None, false));
}
