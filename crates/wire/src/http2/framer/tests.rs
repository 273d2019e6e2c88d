//! Framers event by event; properties of all frames are in `tests/frames.rs`.

use rstest::rstest;

use super::*;
use crate::http2::{ErrorCode, Flags, Payload, Scope};

const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let stream = StreamId::new(stream).expect("31 bits");
    let header = FrameHeader::new(kind, stream, payload.len()).with(Flags(flags));
    [&header.to_bytes()[..], payload].concat()
}

/// The events behind preface and SETTINGS, as words and lengths.
fn events(sender: Sender, maximum: u32, bytes: &[u8]) -> Vec<String> {
    let mut framer = Framer::new(sender, maximum);
    let preface = if sender == Sender::Client { &PREFACE[..] } else { b"" };
    let (all, mut at) = ([preface, SETTINGS, bytes].concat(), 0);
    let mut events = Vec::new();
    loop {
        let event = framer.next(&all[at..]);
        at += event.covers();
        events.push(match event {
            Event::Preface => continue,
            Event::Frame(frame) if at == preface.len() + SETTINGS.len() => {
                assert_eq!(frame.header.kind, Kind::Settings);
                continue;
            }
            Event::Frame(frame) => format!("{} {}", frame.header.kind, frame.payload.len()),
            Event::Start(header) => format!("{} of {}", header.kind, header.length),
            Event::Piece(part, length) => format!("{part:?} {length}"),
            Event::End(_) => "end".to_owned(),
            Event::Broken(error) => format!("{error}"),
            Event::Beyond(length) => format!("beyond {length}"),
            Event::NeedMore => return events,
        });
    }
}

#[rstest]
#[case::empty_data(Kind::Data, 0, b"", &["DATA of 0", "end"])]
#[case::data(Kind::Data, 0, b"tea", &["DATA of 3", "Content 3", "end"])]
#[case::padded(Kind::Data, 0x8, b"\x02tea__", &["DATA of 6", "Fields 1", "Content 3", "Padding 2", "end"])]
#[case::only_padding(Kind::Data, 0x8, b"\x02__", &["DATA of 3", "Fields 1", "Padding 2", "end"])]
#[case::unknown(Kind::Other(0xee), 0xff, b"tea", &["type 0xee of 3", "Content 3", "end"])]
#[case::headers(Kind::Headers, 0x4, b"\x82", &["HEADERS 1"])]
#[case::priority(Kind::Priority, 0, b"\0\0\0\x03\x10", &["PRIORITY 5"])]
#[case::wrong_priority(Kind::Priority, 0, b"\0", &["PRIORITY 1"])]
#[case::reset(Kind::RstStream, 0, b"\0\0\0\x08", &["RST_STREAM 4"])]
#[case::update(Kind::WindowUpdate, 0, b"\0\0\0\0", &["WINDOW_UPDATE 4"])]
#[case::long_headers(
    Kind::Headers, 0x2c, b"\x02\0\0\0\x03\x10..................__",
    &["HEADERS of 26", "Fields 6", "Content 18", "Padding 2", "end"]
)]
#[case::push(Kind::PushPromise, 0x4, b"\0\0\0\x02\x82", &["PUSH_PROMISE 5"])]
fn frames_of_streams(
    #[case] kind: Kind,
    #[case] flags: u8,
    #[case] payload: &[u8],
    #[case] expected: &[&str],
) {
    assert_eq!(events(Sender::Server, 20, &frame(kind, flags, 1, payload)), expected);
}

#[rstest]
#[case::settings(Kind::Settings, 0, b"\0\x01\0\0\0\0", &["SETTINGS 6"])]
#[case::ack(Kind::Settings, 0x1, b"", &["SETTINGS 0"])]
#[case::ping(Kind::Ping, 0x1, b"12345678", &["PING 8"])]
#[case::goaway(Kind::GoAway, 0, b"\0\0\0\x01\0\0\0\0why", &["GOAWAY 11"])]
#[case::update(Kind::WindowUpdate, 0, b"\0\0\0\x01", &["WINDOW_UPDATE 4"])]
#[case::unknown(Kind::Other(0xa), 0, b"", &["type 0xa of 0", "end"])]
#[case::priority_update(Kind::PriorityUpdate, 0, b"\0\0\0\x01u=1", &["PRIORITY_UPDATE 7"])]
fn frames_of_the_connection(
    #[case] kind: Kind,
    #[case] flags: u8,
    #[case] payload: &[u8],
    #[case] expected: &[&str],
) {
    assert_eq!(events(Sender::Client, 20, &frame(kind, flags, 0, payload)), expected);
}

#[rstest]
#[case::data(Kind::Data, 0, 0, b"", "DATA on stream 0")]
#[case::headers(Kind::Headers, 0x4, 0, b"", "HEADERS on stream 0")]
#[case::ping(Kind::Ping, 0, 1, b"12345678", "PING on stream 1")]
#[case::settings(Kind::Settings, 0, 1, b"", "SETTINGS on stream 1")]
#[case::short_ping(Kind::Ping, 0, 0, b"1234567", "PING on stream 0 has 7 bytes")]
#[case::half_settings(Kind::Settings, 0, 0, b"1234567", "SETTINGS on stream 0 has 7 bytes")]
#[case::full_ack(Kind::Settings, 1, 0, b"123456", "SETTINGS on stream 0 has 6 bytes")]
#[case::short_goaway(Kind::GoAway, 0, 0, b"1234567", "GOAWAY on stream 0 has 7 bytes")]
#[case::reset(Kind::RstStream, 0, 1, b"12345", "RST_STREAM on stream 1 has 5 bytes")]
#[case::update(Kind::WindowUpdate, 0, 1, b"123", "WINDOW_UPDATE on stream 1 has 3 bytes")]
#[case::no_padding(Kind::Data, 0x8, 1, b"", "DATA on stream 1 has 0 bytes")]
#[case::short_headers(Kind::Headers, 0x24, 1, b"1234", "HEADERS on stream 1 has 4 bytes")]
#[case::headers_padding(
    Kind::Headers,
    0xc,
    1,
    b"\x02_",
    "HEADERS on stream 1 has 2 bytes of padding, and 1 are left"
)]
#[case::continuation(
    Kind::Continuation,
    0x4,
    1,
    b"",
    "CONTINUATION on stream 1 outside a header block"
)]
#[case::push(Kind::PushPromise, 0x4, 1, b"1234", "PUSH_PROMISE of a client on stream 1")]
#[case::long_settings(
    Kind::Settings, 0, 0, &[0; 24], "SETTINGS has 24 bytes, and at most 20 are kept"
)]
fn broken_frames_are_not_covered(
    #[case] kind: Kind,
    #[case] flags: u8,
    #[case] stream: u32,
    #[case] payload: &[u8],
    #[case] expected: &str,
) {
    let bytes = frame(kind, flags, stream, payload);
    let beyond = format!("beyond {}", bytes.len());
    assert_eq!(events(Sender::Client, 20, &bytes), [expected, &beyond]);
}

#[rstest]
#[case::headers(Kind::Headers)]
#[case::ping(Kind::Ping)]
#[case::unknown(Kind::Other(0xee))]
fn a_header_block_is_not_interrupted(#[case] kind: Kind) {
    let stream = if kind == Kind::Ping { 0 } else { 3 };
    let begin = frame(Kind::Headers, 0, 1, b"\x82");
    let other = frame(kind, 0x4, stream, b"12345678");
    let events = events(Sender::Client, 20, &[begin, other].concat());
    let error = format!("{kind} on stream {stream} inside a header block of stream 1");
    assert_eq!(events, ["HEADERS 1", &error, "beyond 17"]);
}

#[test]
fn padding_beyond_its_frame_is_broken_behind_the_header() {
    let bytes = frame(Kind::Data, 0x8, 1, b"\x03__");
    let error = "DATA on stream 1 has 3 bytes of padding, and 2 are left";
    assert_eq!(events(Sender::Client, 20, &bytes), ["DATA of 3", error, "beyond 3"]);
}

#[test]
fn a_block_goes_on_in_frames_of_its_stream() {
    let mut framer = Framer::new(Sender::Server, 20);
    let frames = [
        (SETTINGS.to_vec(), None),
        (frame(Kind::Headers, 0, 1, b"\x82"), Some(1)),
        (frame(Kind::Continuation, 0, 1, b""), Some(1)),
        (frame(Kind::Continuation, 0, 1, &[0; 30]), Some(1)),
        (frame(Kind::Continuation, 0x4, 1, b"\x82"), None),
        (frame(Kind::PushPromise, 0, 1, b"\0\0\0\x02"), Some(1)),
        (frame(Kind::Continuation, 0x4, 1, b"\x82"), None),
        (frame(Kind::Data, 0, 1, b"tea"), None),
    ];
    for (bytes, block) in frames {
        let mut at = 0;
        while at < bytes.len() {
            let event = framer.next(&bytes[at..]);
            assert!(event.covers() > 0, "{event:?}");
            at += event.covers();
            assert!(at == bytes.len() || !framer.is_at_boundary());
        }
        let end = framer.next(b"");
        assert!(matches!(end, Event::End(_) | Event::NeedMore), "{end:?}");
        assert_eq!(framer.open_block().map(StreamId::number), block);
        assert_eq!(framer.is_at_boundary(), block.is_none());
    }
}

#[rstest]
#[case::http1(
    Sender::Server,
    b"HTTP/1.1 400 Bad Request",
    4,
    FrameError::FirstFrame(Kind::Other(b'P'))
)]
#[case::ack(Sender::Server, b"\0\0\0\x04\x01\0\0\0\0", 9, FrameError::FirstFrame(Kind::Settings))]
#[case::preface(Sender::Client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", 24, FrameError::Preface)]
#[case::http1_request(Sender::Client, b"GET", 1, FrameError::Preface)]
fn another_protocol_is_known_early(
    #[case] sender: Sender,
    #[case] bytes: &[u8],
    #[case] known: usize,
    #[case] error: FrameError,
) {
    for end in 0..=bytes.len() {
        let expected = if end < known { Event::NeedMore } else { Event::Broken(error) };
        assert_eq!(Framer::new(sender, 20).next(&bytes[..end]), expected, "{end} bytes");
    }
}

#[test]
fn errors_say_what_they_end() {
    let payload = |kind, stream, payload: &[u8]| {
        let frame = frame(kind, 0, stream, payload);
        let (header, payload) = frame.split_first_chunk().expect("a header");
        let header = FrameHeader::read(*header);
        Frame { header, payload }.payload().map(|_| ()).expect_err("broken")
    };
    let stream = |number| StreamId::new(number).expect("fits");
    let error = payload(Kind::Priority, 3, b"1");
    assert_eq!(
        (error.code(), error.scope()),
        (ErrorCode::FRAME_SIZE_ERROR, Scope::Stream(stream(3)))
    );
    let error = payload(Kind::WindowUpdate, 3, b"\0\0\0\0");
    assert_eq!(
        (error.code(), error.scope()),
        (ErrorCode::PROTOCOL_ERROR, Scope::Stream(stream(3)))
    );
    let error = payload(Kind::WindowUpdate, 0, b"\x80\0\0\0");
    assert_eq!((error.code(), error.scope()), (ErrorCode::PROTOCOL_ERROR, Scope::Connection));
    let error = payload(Kind::Ping, 0, b"1");
    assert_eq!((error.code(), error.scope()), (ErrorCode::FRAME_SIZE_ERROR, Scope::Connection));
}

#[test]
fn reserved_bits_are_kept_and_ignored() {
    let bytes = b"\0\0\x04\x08\xf0\x80\0\0\x03\x80\0\0\x07";
    let (header, payload) = bytes.split_first_chunk().expect("a header");
    let header = FrameHeader::read(*header);
    assert!(header.reserved && header.stream.number() == 3);
    assert_eq!(header.to_bytes(), bytes[..9]);
    match (Frame { header, payload }).payload() {
        Ok(Payload::StreamWindow(increment)) => assert_eq!(increment.bytes(), 7),
        other => panic!("{other:?}"),
    }
}
