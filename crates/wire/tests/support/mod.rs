//! Frames one direction of a connection as a relay does: message by message, with the bytes that
//! have arrived.
//!
//! The parsers of heads and bodies and the framers above them have to find the same messages.

pub(crate) mod framer;

use interceptor_wire::http1::{self, After, Asked, Body, HeadScan, Storage};
use interceptor_wire::{Parsed, Reason};

use framer::{request_events, response_events};

/// The messages of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Framed {
    /// The complete messages.
    pub(crate) messages: Vec<Message>,
    /// What follows them.
    pub(crate) end: End,
    /// Offset of what follows them.
    pub(crate) end_at: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Length of the head in bytes.
    pub(crate) head: usize,
    /// Length of the body in bytes.
    pub(crate) body: usize,
    /// Method and request target, or status.
    pub(crate) line: String,
    pub(crate) after: After,
    /// Only of requests.
    pub(crate) asked: Option<Asked>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The beginning of a head, or nothing.
    Head,
    /// A head, and the beginning of its body.
    Body,
    /// A head, and a body that goes on until the connection ends.
    UntilClose,
    /// No further message, by the [`After`] of the last one.
    Over,
    Unframed(Reason),
}

/// The requests in `bytes`, which arrive in reads that end at `ends` and at the last byte.
pub(crate) fn requests(bytes: &[u8], ends: impl IntoIterator<Item = usize>) -> Framed {
    let ends = ends.into_iter().collect::<Vec<_>>();
    let events = request_events(bytes, ends.iter().copied(), false);
    let framed = frames(bytes, ends, |bytes, scan, _| {
        let mut storage = Storage::new();
        map(http1::request(bytes, scan, &mut storage), |head| {
            let line = format!("{} {}", head.method(), head.target());
            let _ = (head.path(), head.host());
            (
                Message::new(line, head.after, Some(head.asked())),
                head.body,
                head.after != After::Keep,
            )
        })
    });
    assert_eq!(framer::framed(events), framed);
    framed
}

/// The responses in `bytes` to these requests, with the same reads.
pub(crate) fn responses(
    bytes: &[u8],
    asked: &[Asked],
    ends: impl IntoIterator<Item = usize>,
) -> Framed {
    let ends = ends.into_iter().collect::<Vec<_>>();
    let events = response_events(bytes, asked, ends.iter().copied());
    let mut finals = 0;
    let framed = frames(bytes, ends, |bytes, scan, _| {
        let Some(to) = asked.get(finals) else { return Parsed::Partial };
        let mut storage = Storage::new();
        map(http1::response(bytes, *to, scan, &mut storage), |head| {
            finals += usize::from(!head.is_interim());
            (
                Message::new(head.status.to_string(), head.after, None),
                head.body,
                head.after != After::Keep,
            )
        })
    });
    assert_eq!(framer::framed(events), framed);
    framed
}

/// Reads of one byte each.
pub(crate) fn each(bytes: &[u8]) -> std::ops::RangeInclusive<usize> {
    0..=bytes.len()
}

fn frames(
    bytes: &[u8],
    ends: impl IntoIterator<Item = usize>,
    mut read: impl FnMut(&[u8], &mut HeadScan, usize) -> Parsed<(Message, Body, bool)>,
) -> Framed {
    let mut framed = Framed { messages: Vec::new(), end: End::Head, end_at: 0 };
    let mut scan = HeadScan::default();
    let mut body: Option<(Message, Body, bool)> = None;
    let mut at = 0;
    for end in ends.into_iter().chain([bytes.len()]) {
        loop {
            if let Some((message, rest, over)) = &mut body {
                let taken = match rest.advance(&bytes[at..end]) {
                    Ok(taken) => taken,
                    Err(reason) => {
                        assert_eq!(rest.advance(b""), Err(reason), "stays refused");
                        return Framed { end: End::Unframed(reason), ..framed };
                    }
                };
                assert!(taken <= end - at);
                at += taken;
                message.body += taken;
                if !rest.is_done() {
                    assert_eq!(at, end, "takes all bytes");
                    framed.end = if rest.is_until_close() { End::UntilClose } else { End::Body };
                    break;
                }
                assert_eq!(rest.advance(&bytes[at..end]), Ok(0), "takes no bytes after its end");
                framed.end_at = at;
                framed.end = if *over { End::Over } else { End::Head };
                framed.messages.push(message.clone());
                body = None;
                if framed.end == End::Over {
                    return framed;
                }
            }
            match read(&bytes[at..end], &mut scan, at) {
                Parsed::Partial => break,
                Parsed::Complete { head: (mut message, rest, over), len } => {
                    assert!(0 < len && len <= end - at);
                    assert_eq!(scan, HeadScan::default(), "is reset for the next head");
                    message.head = len;
                    at += len;
                    body = Some((message, rest, over));
                }
                Parsed::Unframed(reason) => return Framed { end: End::Unframed(reason), ..framed },
            }
        }
    }
    framed
}

fn map<T, U>(parsed: Parsed<T>, f: impl FnOnce(T) -> U) -> Parsed<U> {
    match parsed {
        Parsed::Partial => Parsed::Partial,
        Parsed::Complete { head, len } => Parsed::Complete { head: f(head), len },
        Parsed::Unframed(reason) => Parsed::Unframed(reason),
    }
}

impl Message {
    fn new(line: String, after: After, asked: Option<Asked>) -> Self {
        Self { head: 0, body: 0, line, after, asked }
    }
}
