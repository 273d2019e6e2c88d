//! Properties of the frames of a connection, in any reads, and of any bytes.

#![forbid(unsafe_code)]

#[path = "support/frames.rs"]
mod support;

use interceptor_wire::http2::{Flags, FrameHeader, Kind, PREFACE, Part, Sender, StreamId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use support::{Seen, covered, events};

/// A frame as it is written.
#[derive(Debug, Clone)]
struct Sent {
    header: FrameHeader,
    /// The fields in front of the content, the content, and the padding.
    parts: [Vec<u8>; 3],
}

impl Sent {
    fn new(kind: Kind, flags: u8, stream: u32, parts: [Vec<u8>; 3]) -> Self {
        let length = parts.iter().map(Vec::len).sum();
        let stream = StreamId::new(stream).expect("31 bits");
        Self { header: FrameHeader::new(kind, stream, length).with(Flags(flags)), parts }
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.header.to_bytes()[..], &self.parts.concat()].concat()
    }
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..40), (0..400_usize).prop_map(|length| vec![b'x'; length])]
}

/// A frame on one stream whose content may have fields in front and padding behind.
fn of_stream(kind: Kind, flag: u8, fields: usize) -> impl Strategy<Value = Sent> {
    let padding = prop::option::of(0..20_u8);
    (vec(any::<u8>(), 5), content(), padding, any::<[bool; 2]>(), 1..9_u32).prop_map(
        move |(mut front, content, padding, [has_fields, ends], stream)| {
            let always = kind == Kind::PushPromise;
            let has_fields = fields > 0 && (has_fields || always);
            front.truncate(if has_fields { fields } else { 0 });
            let mut flags = if has_fields && !always { flag } else { 0 };
            if let Some(padding) = padding {
                front.insert(0, padding);
                flags |= Flags::PADDED.0;
            }
            if ends && kind != Kind::PushPromise {
                flags |= Flags::END_STREAM.0;
            }
            Sent::new(kind, flags, stream, [front, content, vec![0; padding.unwrap_or(0).into()]])
        },
    )
}

/// A header block: the frame that begins it, and those that go on.
fn block() -> impl Strategy<Value = Vec<Sent>> {
    let begin = prop_oneof![
        of_stream(Kind::Headers, Flags::PRIORITY.0, 5),
        of_stream(Kind::PushPromise, 0, 4)
    ];
    (begin, vec(content(), 0..4)).prop_map(|(begin, more)| {
        let stream = begin.header.stream.number();
        let more = more
            .into_iter()
            .map(|content| Sent::new(Kind::Continuation, 0, stream, [vec![], content, vec![]]));
        let mut frames = [begin].into_iter().chain(more).collect::<Vec<_>>();
        let last = frames.last_mut().expect("the first one");
        last.header.flags = last.header.flags.with(Flags::END_HEADERS, true);
        frames
    })
}

fn plain(kind: Kind, flags: u8, stream: u32, length: usize) -> impl Strategy<Value = Sent> {
    vec(any::<u8>(), length)
        .prop_map(move |content| Sent::new(kind, flags, stream, [vec![], content, vec![]]))
}

/// The frames between two others, each in any order.
fn frames() -> impl Strategy<Value = Vec<Sent>> {
    let one = |frame| vec![frame];
    let group = prop_oneof![
        3 => block(),
        3 => of_stream(Kind::Data, 0, 0).prop_map(one),
        2 => prop_oneof![
            plain(Kind::Priority, 0, 3, 5),
            plain(Kind::Priority, 0, 3, 2),
            plain(Kind::RstStream, 0, 3, 4),
            plain(Kind::Settings, 0, 0, 0),
            plain(Kind::Settings, 0, 0, 12),
            plain(Kind::Settings, 1, 0, 0),
            plain(Kind::Ping, 0, 0, 8),
            plain(Kind::Ping, 1, 0, 8),
            plain(Kind::GoAway, 0, 0, 8),
            plain(Kind::GoAway, 0, 0, 20),
            plain(Kind::WindowUpdate, 0, 0, 4),
            plain(Kind::WindowUpdate, 0, 3, 4),
            plain(Kind::PriorityUpdate, 0, 0, 7),
        ].prop_map(one),
        1 => (11..=255_u8, any::<u8>(), 0..4_u32, content())
            .prop_filter("is known", |(kind, ..)| *kind != 0x10)
            .prop_map(move |(kind, flags, stream, content)| {
                one(Sent::new(Kind::new(kind), flags, stream, [vec![], content, vec![]]))
            }),
    ];
    vec(group, 0..12).prop_map(|groups| groups.concat())
}

/// The first bytes of a side.
fn opening(sender: Sender) -> Vec<u8> {
    let settings = Sent::new(Kind::Settings, 0, 0, Default::default()).bytes();
    match sender {
        Sender::Client => [PREFACE, &settings[..]].concat(),
        Sender::Server => settings,
    }
}

/// The events that a frame has to be.
fn expected(frame: &Sent, maximum: u32) -> Vec<Seen> {
    let header = frame.header;
    let in_pieces = matches!(header.kind, Kind::Data | Kind::Other(_)) || header.length > maximum;
    if !in_pieces {
        return vec![Seen::Frame(header, frame.parts.concat())];
    }
    let parts = [Part::Fields, Part::Content, Part::Padding].into_iter().zip(&frame.parts);
    let pieces = parts.filter(|(_, bytes)| !bytes.is_empty());
    let pieces = pieces.map(|(part, bytes)| Seen::Piece(part, bytes.clone()));
    [Seen::Start(header)].into_iter().chain(pieces).chain([Seen::End(header)]).collect()
}

fn ends(bytes: &[u8], cuts: &[Index]) -> Vec<usize> {
    let mut ends = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect::<Vec<_>>();
    ends.sort_unstable();
    ends
}

proptest! {
    #[test]
    fn frames_are_found_as_they_were_sent(
        frames in frames(),
        reserved in vec(any::<bool>(), 64),
        maximum in select(&[24_u32, 100, 16_384][..]),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let mut frames = frames;
        for (frame, reserved) in frames.iter_mut().zip(reserved) {
            frame.header.reserved = reserved;
        }
        // A client does not promise.
        let pushes = frames.iter().any(|frame| frame.header.kind == Kind::PushPromise);
        let senders = [Sender::Server, Sender::Client];
        for sender in senders.into_iter().take(if pushes { 1 } else { 2 }) {
            let mut bytes = opening(sender);
            let first = events(sender, maximum, &bytes, []);
            bytes.extend(frames.iter().flat_map(Sent::bytes));
            let frames = frames.iter().flat_map(|frame| expected(frame, maximum));
            let expected = first.into_iter().chain(frames).collect::<Vec<_>>();
            prop_assert_eq!(covered(&expected), bytes.len());
            prop_assert_eq!(&events(sender, maximum, &bytes, []), &expected);
            prop_assert_eq!(&events(sender, maximum, &bytes, ends(&bytes, &cuts)), &expected);
            prop_assert_eq!(&events(sender, maximum, &bytes, 1..bytes.len()), &expected);
        }
    }

    #[test]
    fn changed_bytes_give_the_same_events_in_any_reads(
        frames in frames(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
        cuts in vec(any::<Index>(), 0..8),
        maximum in select(&[24_u32, 100, 16_384][..]),
    ) {
        for sender in [Sender::Server, Sender::Client] {
            let mut bytes = opening(sender);
            bytes.extend(frames.iter().flat_map(Sent::bytes));
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            let whole = events(sender, maximum, &bytes, []);
            prop_assert!(covered(&whole) <= bytes.len());
            prop_assert_eq!(&events(sender, maximum, &bytes, ends(&bytes, &cuts)), &whole);
            prop_assert_eq!(&events(sender, maximum, &bytes, 1..bytes.len()), &whole);
        }
    }
}
