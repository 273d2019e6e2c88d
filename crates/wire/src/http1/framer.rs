//! Cuts one direction of a connection into messages, RFC 9112 sections 2.1 and 6.3.
//!
//! A framer holds the place in the stream; the caller holds the bytes. Each call looks at the bytes
//! that no earlier event has covered and returns one [`Event`]. The caller then drops as many bytes
//! as the event covers, and calls again until the event is [`Event::NeedMore`]:
//!
//! ```
//! use interceptor_wire::http1::{After, Event, RequestFramer, Storage};
//!
//! let received = b"PUT /cart HTTP/1.1\r\nHost: shop\r\nContent-Length: 3\r\n\r\nteaGET / HT";
//! let (mut framer, mut at, mut seen) = (RequestFramer::default(), 0, Vec::new());
//! loop {
//!     let mut storage = Storage::new();
//!     match framer.next(&received[at..], &mut storage) {
//!         Event::Head { head, len } => {
//!             seen.push(format!("{} {}", head.method(), head.path()));
//!             at += len;
//!         }
//!         Event::Body(len) | Event::Beyond(len) => at += len,
//!         Event::End(after) => seen.push(format!("{after:?} at byte {at}")),
//!         Event::Doubt(reason) => panic!("{reason}"),
//!         Event::NeedMore => break,
//!     }
//! }
//! assert_eq!(seen, ["PUT /cart", "Keep at byte 56"]);
//! assert_eq!(&received[at..], b"GET / HT");
//! ```
//!
//! The events do not depend on how the bytes are cut into reads, with two exceptions. Adjacent
//! [`Event::Body`]s (and adjacent [`Event::Beyond`]s) add up to the same number of bytes. The part
//! of a broken chunked body that comes before its [`Event::Doubt`] depends on the reads.
//!
//! A framer does no I/O and allocates nothing.

use super::{
    After, Asked, Body, HeadScan, RequestHead, ResponseHead, Storage, request::request,
    response::response,
};
use crate::{Parsed, Reason};

/// What comes next in one direction of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<H> {
    /// A head. It covers its own bytes only, not those of the body.
    Head {
        /// What the head says: a [`RequestHead`] or a [`ResponseHead`].
        head: H,
        /// Its length in bytes, with the empty lines in front of a request line.
        len: usize,
    },
    /// This many bytes, at least one, belong to the body of the last head.
    Body(usize),
    /// The message is complete. Covers no bytes.
    ///
    /// Follows each head or body once. The exceptions are interim responses, which have a head
    /// only, and bodies that end with the connection.
    End(After),
    /// This many bytes, at least one, belong to no message: they follow a message that was the last
    /// one by its own [`After`], or an [`Event::Doubt`].
    Beyond(usize),
    /// The end of the message is in doubt. Covers no bytes, and is returned once; everything that
    /// follows is [`Event::Beyond`].
    Doubt(Reason),
    /// No event without more bytes. The caller keeps the beginning of a head and presents it again
    /// with the bytes that follow.
    NeedMore,
}

/// Frames the requests of a connection.
///
/// After a request with [`After::Upgrade`] or [`After::Connect`], the response decides what
/// follows. The framer takes it for the next request, so call it again only if the response
/// declines.
#[derive(Debug, Clone, Default)]
pub struct RequestFramer {
    place: Place,
}

/// Frames the responses of a connection.
#[derive(Debug, Clone, Default)]
pub struct ResponseFramer {
    place: Place,
}

/// Where in the stream the next byte is.
#[derive(Debug, Clone)]
enum Place {
    /// In front of a head, or in it.
    Head(HeadScan),
    /// In a body, which is not complete.
    Body(Body, After),
    /// Behind the last byte of a message.
    End(After),
    /// Behind all messages, or where framing failed.
    Beyond,
}

// === impl RequestFramer ===

impl RequestFramer {
    /// The next event of `bytes`, which begin with the first byte that no earlier event covers.
    ///
    /// `storage` holds the header fields of a head; a new one for each call costs nothing.
    pub fn next<'a, 'b: 'a>(
        &mut self,
        bytes: &'b [u8],
        storage: &'a mut Storage<'b>,
    ) -> Event<RequestHead<'a>> {
        if let Place::End(after) = self.place {
            self.place = match after {
                After::Keep | After::Upgrade | After::Connect => Place::default(),
                After::Close => Place::Beyond,
            };
            return Event::End(after);
        }
        if bytes.is_empty() {
            return Event::NeedMore;
        }
        let Place::Head(scan) = &mut self.place else { return self.place.pass(bytes) };
        match request(bytes, scan, storage) {
            Parsed::Partial => Event::NeedMore,
            Parsed::Unframed(reason) => self.place.doubt(reason),
            Parsed::Complete { head, len } => {
                self.place = Place::behind_head(&head.body, head.after);
                Event::Head { head, len }
            }
        }
    }

    /// Takes the last event back, which was [`Event::Head`]: its bytes are not covered, and the
    /// next call reads the head again.
    ///
    /// For a caller that has to keep a request until its turn comes.
    pub fn put_back_head(&mut self) {
        self.place = Place::default();
    }

    /// Whether the next event is [`Event::End`], which needs no bytes.
    pub fn is_at_end(&self) -> bool {
        matches!(self.place, Place::End(_))
    }
}

// === impl ResponseFramer ===

impl ResponseFramer {
    /// The next event of `bytes`, which begin with the first byte that no earlier event covers.
    ///
    /// `asked` is the oldest request without a complete final response. Without such a request, the
    /// server sent unasked, and the bytes are not a response. The caller checks for that first.
    /// `storage` is as for [`RequestFramer::next`].
    pub fn next<'a, 'b: 'a>(
        &mut self,
        bytes: &'b [u8],
        asked: Asked,
        storage: &'a mut Storage<'b>,
    ) -> Event<ResponseHead<'a>> {
        if let Place::End(after) = self.place {
            self.place = match after {
                After::Keep => Place::default(),
                After::Close | After::Upgrade | After::Connect => Place::Beyond,
            };
            return Event::End(after);
        }
        if bytes.is_empty() {
            return Event::NeedMore;
        }
        let Place::Head(scan) = &mut self.place else { return self.place.pass(bytes) };
        match response(bytes, asked, scan, storage) {
            Parsed::Partial => Event::NeedMore,
            Parsed::Unframed(reason) => self.place.doubt(reason),
            Parsed::Complete { head, len } => {
                self.place = if head.is_interim() {
                    Place::default()
                } else {
                    Place::behind_head(&head.body, head.after)
                };
                Event::Head { head, len }
            }
        }
    }
}

// === impl Place ===

impl Default for Place {
    fn default() -> Self {
        Self::Head(HeadScan::default())
    }
}

impl Place {
    fn behind_head(body: &Body, after: After) -> Self {
        if body.is_done() { Self::End(after) } else { Self::Body(body.clone(), after) }
    }

    /// The event of at least one byte that belongs to no head.
    fn pass<H>(&mut self, bytes: &[u8]) -> Event<H> {
        let Self::Body(body, after) = self else { return Event::Beyond(bytes.len()) };
        let after = *after;
        match body.advance(bytes) {
            Ok(len) => {
                if body.is_done() {
                    *self = Self::End(after);
                }
                Event::Body(len)
            }
            Err(reason) => self.doubt(reason),
        }
    }

    fn doubt<H>(&mut self, reason: Reason) -> Event<H> {
        *self = Self::Beyond;
        Event::Doubt(reason)
    }
}

#[cfg(test)]
mod tests;
