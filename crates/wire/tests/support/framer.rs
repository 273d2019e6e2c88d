//! Collects the events of a framer for one direction of a connection.

use interceptor_wire::Reason;
use interceptor_wire::http1::{After, Asked, Event, RequestFramer, ResponseFramer, Storage};

use super::{End, Framed, Message};

/// An event. Adjacent bodies are one, since how many there are depends on the reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A head, and whether its body goes on until the connection ends.
    Head(Message, bool),
    Body(usize),
    End(After),
    Beyond(usize),
    /// Takes the place of the body in front of it, whose length depends on the reads; the bytes
    /// beyond it are left out for the same reason.
    Doubt(Reason),
}

/// The events of `bytes`, which arrive in reads that end at `ends` and at the last byte.
///
/// With `put_back`, each head is put back once and read again.
pub(crate) fn request_events(
    bytes: &[u8],
    ends: impl IntoIterator<Item = usize>,
    put_back: bool,
) -> Vec<Seen> {
    let mut framer = RequestFramer::default();
    events(bytes, ends, |bytes| {
        let mut storage = Storage::new();
        let mut event = framer.next(bytes, &mut storage);
        let mut again = Storage::new();
        if put_back && matches!(event, Event::Head { .. }) {
            framer.put_back_head();
            event = framer.next(bytes, &mut again);
        }
        let (len, seen) = match event {
            Event::NeedMore => return None,
            Event::Head { head, len } => {
                let line = format!("{} {}", head.method(), head.target());
                let _ = (head.path(), head.host());
                let message =
                    Message { head: len, ..Message::new(line, head.after, Some(head.asked())) };
                assert_eq!(framer.is_at_end(), head.body.is_done());
                (len, Seen::Head(message, head.body.is_until_close()))
            }
            Event::Body(len) => (len, Seen::Body(len)),
            Event::End(after) => (0, Seen::End(after)),
            Event::Beyond(len) => (len, Seen::Beyond(len)),
            Event::Doubt(reason) => (0, Seen::Doubt(reason)),
        };
        Some((len, seen))
    })
}

/// The events of the responses to these requests. Stops where none of them awaits a response.
pub(crate) fn response_events(
    bytes: &[u8],
    asked: &[Asked],
    ends: impl IntoIterator<Item = usize>,
) -> Vec<Seen> {
    let mut framer = ResponseFramer::default();
    let mut asked = asked.iter();
    let mut to = asked.next();
    events(bytes, ends, |bytes| {
        let mut storage = Storage::new();
        let event = framer.next(bytes, *to?, &mut storage);
        let (len, seen) = match event {
            Event::NeedMore => return None,
            Event::Head { head, len } => {
                let message = Message {
                    head: len,
                    ..Message::new(head.status.to_string(), head.after, None)
                };
                (len, Seen::Head(message, head.body.is_until_close()))
            }
            Event::Body(len) => (len, Seen::Body(len)),
            Event::End(after) => {
                // The last request is kept, to see which events the bytes after its response get.
                to = if after == After::Keep { asked.next() } else { to };
                (0, Seen::End(after))
            }
            Event::Beyond(len) => (len, Seen::Beyond(len)),
            Event::Doubt(reason) => (0, Seen::Doubt(reason)),
        };
        Some((len, seen))
    })
}

fn events(
    bytes: &[u8],
    ends: impl IntoIterator<Item = usize>,
    mut next: impl FnMut(&[u8]) -> Option<(usize, Seen)>,
) -> Vec<Seen> {
    let mut events: Vec<Seen> = Vec::new();
    let mut at = 0;
    for end in ends.into_iter().chain([bytes.len()]) {
        while let Some((len, seen)) = next(&bytes[at..end]) {
            assert!(len <= end - at, "covers bytes that have arrived");
            assert_eq!(len > 0, !matches!(seen, Seen::End(_) | Seen::Doubt(_)));
            at += len;
            match (events.last_mut(), &seen) {
                (Some(Seen::Body(sum)), Seen::Body(len)) => *sum += len,
                (Some(Seen::Beyond(sum)), Seen::Beyond(len)) => *sum += len,
                (Some(body @ Seen::Body(_)), Seen::Doubt(_)) => *body = seen,
                (Some(Seen::Doubt(_)), seen) => assert_eq!(seen, &Seen::Beyond(len)),
                _ => events.push(seen),
            }
        }
    }
    events
}

/// The messages of these events, up to the one after which no other follows.
pub(super) fn framed(events: Vec<Seen>) -> Framed {
    let mut framed = Framed { messages: Vec::new(), end: End::Head, end_at: 0 };
    let mut message: Option<Message> = None;
    for event in events {
        match event {
            // An interim response has no end.
            Seen::Head(head, _) if head.line.starts_with('1') && head.line != "101" => {
                framed.end_at += head.head;
                framed.messages.push(head);
            }
            Seen::Head(head, until_close) => {
                framed.end = if until_close { End::UntilClose } else { End::Body };
                message = Some(head);
            }
            Seen::Body(len) => message.iter_mut().for_each(|message| message.body += len),
            Seen::End(after) => {
                let message = message.take().expect("an end follows a head");
                assert_eq!(message.after, after);
                framed.end_at += message.head + message.body;
                framed.messages.push(message);
                framed.end = if after == After::Keep { End::Head } else { End::Over };
                if framed.end == End::Over {
                    return framed;
                }
            }
            Seen::Beyond(_) => unreachable!("follows the last message only"),
            Seen::Doubt(reason) => return Framed { end: End::Unframed(reason), ..framed },
        }
    }
    framed
}
