//! The framer of HTTP/2 returns the same events for any reads. The events of a beginning are a
//! beginning of the events. Together they cover all bytes, which come out of what was read as they
//! went in. Header blocks are the same after they were written again.
//!
//! The first byte is the size of the reads. The second one selects the sender, the maximum for
//! whole frames, and whether the rest follows a legal opening.

use interceptor_wire::http2::{
    BlockHead, Frame, FrameHeader, FrameSize, HeaderFields, PREFACE, Part, Sender, encode,
};

#[path = "../../../crates/wire/tests/support/frames.rs"]
mod support;

use support::{Seen, covered, events};

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let [size, kinds, bytes @ ..] = bytes else { return };
    let (sender, preface) = match kinds % 2 {
        0 => (Sender::Client, &PREFACE[..]),
        _ => (Sender::Server, &[][..]),
    };
    let maximum = [24, 100, 16_384][usize::from(kinds >> 1) % 3];
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    let opening = if kinds & 0x80 == 0 { [preface, settings].concat() } else { Vec::new() };
    let bytes = [&opening[..], bytes].concat();
    let reads =
        || (1..).map(|read| read * (1 + usize::from(*size))).take_while(|end| *end < bytes.len());

    let whole = events(sender, maximum, &bytes, []);
    assert_eq!(events(sender, maximum, &bytes, reads()), whole);
    if bytes.len() < 300 {
        assert_eq!(events(sender, maximum, &bytes, 1..bytes.len()), whole);
    }
    for end in reads() {
        assert_begins(&whole, &events(sender, maximum, &bytes[..end], []));
    }
    assert!(bytes.starts_with(&again(&whole)));
    assert!(covered(&whole) <= bytes.len());
    blocks(&whole);
}

/// `part` is what `whole` begins with, but for a piece that is not complete.
fn assert_begins(whole: &[Seen], part: &[Seen]) {
    let Some((last, before)) = part.split_last() else { return };
    assert_eq!(&whole[..before.len()], before);
    match (last, &whole[before.len()]) {
        (Seen::Piece(part, bytes), Seen::Piece(same, all)) => {
            assert!(part == same && all.starts_with(bytes));
        }
        (Seen::Beyond(part), Seen::Beyond(whole)) => assert!(part <= whole),
        (last, whole) => assert_eq!(last, whole),
    }
}

/// The bytes of what was read, up to an error.
fn again(events: &[Seen]) -> Vec<u8> {
    let mut out = Vec::new();
    for event in events {
        match event {
            Seen::Preface => out.extend(PREFACE),
            Seen::Frame(header, payload) => {
                out.extend(header.to_bytes());
                out.extend(payload);
            }
            Seen::Start(header) => out.extend(header.to_bytes()),
            Seen::Piece(_, bytes) => out.extend(bytes),
            Seen::End(_) | Seen::Broken(_) | Seen::Beyond(_) => {}
        }
    }
    out
}

/// Writes each whole header block again, in one frame or more, and compares.
fn blocks(events: &[Seen]) {
    let mut open: Option<(BlockHead, Vec<u8>)> = None;
    let mut header: Option<FrameHeader> = None;
    for event in events {
        let mut ends = None;
        match event {
            Seen::Frame(header, payload) if header.is_in_block() => {
                add(&mut open, header, payload);
                ends = Some(header);
            }
            Seen::Start(started) => {
                header = Some(*started);
                let fields = HeaderFields::default();
                // The promised stream follows in the fields.
                open = open.or(BlockHead::new(started, &fields).map(|head| (head, Vec::new())));
            }
            Seen::Piece(Part::Fields, bytes) => {
                let header = header.expect("a frame began");
                let head = BlockHead::new(&header, &HeaderFields::read(&header, bytes));
                open = head.map(|head| (head, Vec::new()));
            }
            Seen::Piece(Part::Content, bytes) => {
                open.iter_mut().for_each(|(_, block)| block.extend(bytes));
            }
            Seen::End(header) => ends = Some(header),
            Seen::Broken(_) => return,
            _ => {}
        }
        if ends.is_some_and(FrameHeader::ends_block) {
            let (head, block) = open.take().expect("a block began");
            assert_is_kept(&head, &block);
        }
    }
}

/// Adds a whole frame to the block that is open, or begins one.
fn add(open: &mut Option<(BlockHead, Vec<u8>)>, header: &FrameHeader, payload: &[u8]) {
    use interceptor_wire::http2::Payload::{Continuation, Headers, PushPromise};
    match (Frame { header: *header, payload }).payload() {
        Ok(Headers { fields, fragment } | PushPromise { fields, fragment }) => {
            let head = BlockHead::new(header, &fields).expect("begins a block");
            *open = Some((head, fragment.to_vec()));
        }
        Ok(Continuation(fragment)) => {
            open.as_mut().expect("a block began").1.extend(fragment);
        }
        other => panic!("{other:?}"),
    }
}

fn assert_is_kept(head: &BlockHead, block: &[u8]) {
    let mut out = b"\0\0\0\x04\0\0\0\0\0".to_vec();
    encode::block(&mut out, head, block, FrameSize::MIN);
    let mut open = None;
    for event in &events(Sender::Server, FrameSize::MIN.bytes(), &out, [])[1..] {
        match event {
            Seen::Frame(header, payload) => add(&mut open, header, payload),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(open, Some((*head, block.to_vec())));
}
