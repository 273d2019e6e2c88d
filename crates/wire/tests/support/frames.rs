//! Collects the events of a framer for one direction of an HTTP/2 connection.

use interceptor_wire::http2::{Event, FrameError, FrameHeader, Framer, Part, Sender};

/// An event. Adjacent pieces of the same part are one, since how many there are depends on the
/// reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Preface,
    /// A whole frame, and the bytes of its payload.
    Frame(FrameHeader, Vec<u8>),
    Start(FrameHeader),
    Piece(Part, Vec<u8>),
    End(FrameHeader),
    Broken(FrameError),
    Beyond(usize),
}

/// The events of `bytes`, which arrive in reads that end at `ends` and at the last byte.
pub(crate) fn events(
    sender: Sender,
    maximum: u32,
    bytes: &[u8],
    ends: impl IntoIterator<Item = usize>,
) -> Vec<Seen> {
    let mut framer = Framer::new(sender, maximum);
    let (mut events, mut at): (Vec<Seen>, _) = (Vec::new(), 0);
    for end in ends.into_iter().chain([bytes.len()]) {
        loop {
            let rest = &bytes[at..end];
            let event = framer.next(rest);
            let covers = event.covers();
            assert!(covers <= rest.len(), "covers bytes that have arrived");
            at += covers;
            let has_bytes = !matches!(event, Event::End(_) | Event::Broken(_) | Event::NeedMore);
            assert_eq!(covers > 0, has_bytes);
            let seen = match event {
                Event::NeedMore => break,
                Event::Preface => Seen::Preface,
                Event::Frame(frame) => {
                    assert_eq!(frame.payload, &rest[9..covers]);
                    let _ = frame.payload();
                    Seen::Frame(frame.header, frame.payload.to_vec())
                }
                Event::Start(header) => Seen::Start(header),
                Event::Piece(part, length) => Seen::Piece(part, rest[..length].to_vec()),
                Event::End(header) => Seen::End(header),
                Event::Broken(error) => Seen::Broken(error),
                Event::Beyond(length) => Seen::Beyond(length),
            };
            match (events.last_mut(), seen) {
                (Some(Seen::Piece(part, bytes)), Seen::Piece(next, more)) if *part == next => {
                    assert_ne!(next, Part::Fields, "in one piece");
                    bytes.extend(more);
                }
                (Some(Seen::Beyond(sum)), Seen::Beyond(length)) => *sum += length,
                (_, seen) => events.push(seen),
            }
        }
        let held = end - at;
        assert!(held < 9 + maximum.max(24) as usize, "{held} bytes are held");
    }
    events
}

/// The bytes that these events cover.
pub(crate) fn covered(events: &[Seen]) -> usize {
    let lengths = events.iter().map(|event| match event {
        Seen::Preface => 24,
        Seen::Frame(_, payload) => 9 + payload.len(),
        Seen::Start(_) => 9,
        Seen::Piece(_, bytes) => bytes.len(),
        Seen::End(_) | Seen::Broken(_) => 0,
        Seen::Beyond(length) => *length,
    });
    lengths.sum()
}
