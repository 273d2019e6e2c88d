//! How header blocks and data are split into frames, and that each frame is read as it was meant.

use proptest::prelude::*;

use super::*;
use crate::http2::{Frame, HeaderFields, Payload};

/// Whole frames, one behind the other.
fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk() {
        let header = FrameHeader::read(*header);
        let (payload, rest) = rest.split_at(header.length as usize);
        frames.push(Frame { header, payload });
        bytes = rest;
    }
    assert!(bytes.is_empty());
    frames
}

fn stream(number: u32) -> StreamId {
    StreamId::new(number).expect("31 bits")
}

#[test]
fn single_frames_say_what_was_written() {
    let mut out = Vec::new();
    let table = Setting { id: crate::http2::SettingId::HEADER_TABLE_SIZE, value: 7 };
    settings(&mut out, [table]);
    settings_ack(&mut out);
    ping(&mut out, *b"12345678");
    ping_ack(&mut out, *b"12345678");
    rst_stream(&mut out, stream(3), ErrorCode::CANCEL);
    goaway(&mut out, stream(5), ErrorCode::NO_ERROR, &[b'x'; 2000]);
    connection_window(&mut out, Increment::new(7).expect("fits"));
    stream_window(&mut out, stream(3), Increment::new(9).expect("fits"));
    let seen = frames(&out);
    let payloads = seen.iter().map(|frame| frame.payload().expect("legal")).collect::<Vec<_>>();
    let streams = seen.iter().map(|frame| frame.header.stream.number()).collect::<Vec<_>>();
    assert_eq!(streams, [0, 0, 0, 0, 3, 0, 0, 3]);
    match payloads[..] {
        [
            Payload::Settings(settings),
            Payload::SettingsAck,
            Payload::Ping(ping),
            Payload::PingAck(ack),
            Payload::RstStream(ErrorCode::CANCEL),
            Payload::GoAway { last, code: ErrorCode::NO_ERROR, debug },
            Payload::ConnectionWindow(connection),
            Payload::StreamWindow(of_stream),
        ] => {
            assert_eq!(settings.iter().collect::<Vec<_>>(), [table]);
            assert_eq!((&ping, &ack), (b"12345678", b"12345678"));
            assert_eq!((last, debug.len()), (stream(5), MAX_DEBUG));
            assert_eq!((connection.bytes(), of_stream.bytes()), (7, 9));
        }
        ref other => panic!("{other:?}"),
    }
}

fn priority() -> impl Strategy<Value = Option<Priority>> {
    let priority = (any::<bool>(), 0..=StreamId::MAX.number(), any::<u8>()).prop_map(
        |(exclusive, dependency, weight)| Priority {
            exclusive,
            dependency: stream(dependency),
            weight,
        },
    );
    prop::option::of(priority)
}

fn opening() -> impl Strategy<Value = Opening> {
    prop_oneof![
        (any::<bool>(), priority())
            .prop_map(|(end_stream, priority)| Opening::Headers { end_stream, priority }),
        (1..1000_u32).prop_map(|promised| Opening::PushPromise(stream(promised))),
    ]
}

/// Around the limits of one, two and three frames.
fn length() -> impl Strategy<Value = usize> {
    (0..4_usize, 0..20_usize).prop_map(|(frames, more)| (frames << 14).saturating_sub(10) + more)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_block_is_split_into_frames_and_keeps_its_head(opening in opening(), length in length()) {
        let head = BlockHead { stream: stream(7), opening };
        let content = (0..length).map(|at| at as u8).collect::<Vec<_>>();
        let mut out = b"before".to_vec();
        block(&mut out, &head, &content, FrameSize::MIN);
        let (mut joined, frames) = (Vec::new(), frames(&out[6..]));
        for (at, frame) in frames.iter().enumerate() {
            prop_assert!(frame.header.length <= FrameSize::MIN.bytes());
            prop_assert_eq!(frame.header.ends_block(), at == frames.len() - 1);
            prop_assert_eq!(frame.header.stream, head.stream);
            match frame.payload().expect("legal") {
                Payload::Headers { fields, fragment } | Payload::PushPromise { fields, fragment } => {
                    prop_assert_eq!(at, 0);
                    prop_assert_eq!(BlockHead::new(&frame.header, &fields), Some(head));
                    joined.extend_from_slice(fragment);
                }
                Payload::Continuation(fragment) => {
                    prop_assert!(at > 0 && !fragment.is_empty());
                    prop_assert_eq!(BlockHead::new(&frame.header, &HeaderFields::default()), None);
                    joined.extend_from_slice(fragment);
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
        prop_assert_eq!(joined, content);
    }

    #[test]
    fn data_are_split_and_the_last_frame_ends_the_stream(length in length(), end_stream: bool) {
        let content = (0..length).map(|at| at as u8).collect::<Vec<_>>();
        let mut out = Vec::new();
        data(&mut out, stream(7), &content, end_stream, FrameSize::MIN);
        let (mut joined, frames) = (Vec::new(), frames(&out));
        prop_assert_eq!(frames.len(), length.div_ceil(1 << 14).max(1));
        for (at, frame) in frames.iter().enumerate() {
            prop_assert!(frame.header.length <= FrameSize::MIN.bytes());
            prop_assert_eq!(frame.header.ends_stream(), end_stream && at == frames.len() - 1);
            match frame.payload() {
                Ok(Payload::Data(data)) => joined.extend_from_slice(data),
                other => prop_assert!(false, "{other:?}"),
            }
        }
        prop_assert_eq!(joined, content);
    }
}
