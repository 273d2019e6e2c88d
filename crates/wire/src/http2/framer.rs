//! Cuts one direction of a connection into frames, in the manner of
//! [`http1`](crate::http1::RequestFramer).
//!
//! A framer holds the place in the stream; the caller holds the bytes. Each call looks at the bytes
//! that no earlier event has covered and returns one [`Event`]. The caller drops as many bytes as
//! [`Event::covers`] says, and calls again until the event is [`Event::NeedMore`]:
//!
//! ```
//! use interceptor_wire::http2::{Event, Framer, Kind, Part, Sender, encode};
//! use interceptor_wire::http2::{FrameSize, PREFACE, StreamId};
//!
//! let mut received = PREFACE.to_vec();
//! encode::settings(&mut received, []);
//! let stream = StreamId::new(1).expect("fits");
//! encode::data(&mut received, stream, b"tea", true, FrameSize::MIN);
//!
//! let (mut framer, mut at, mut seen) = (Framer::new(Sender::Client, 16_384), 0, Vec::new());
//! loop {
//!     let event = framer.next(&received[at..]);
//!     at += event.covers();
//!     match event {
//!         Event::Preface => {}
//!         Event::Frame(frame) => seen.push(format!("{}", frame.header.kind)),
//!         Event::Start(header) => seen.push(format!("{} begins", header.kind)),
//!         Event::Piece(Part::Content, length) => seen.push(format!("{length} bytes")),
//!         Event::Piece(..) => {}
//!         Event::End(header) => seen.push(format!("{} ends", header.kind)),
//!         Event::Broken(error) => panic!("{error}"),
//!         Event::Beyond(_) | Event::NeedMore => break,
//!     }
//! }
//! assert_eq!(seen, ["SETTINGS", "DATA begins", "3 bytes", "DATA ends"]);
//! assert_eq!(at, received.len());
//! ```
//!
//! Frames that have to be known whole are one event, up to a maximum length: all but DATA and those
//! of unknown types. DATA, unknown types and longer header blocks pass in pieces as they arrive.
//!
//! The events do not depend on how the bytes are cut into reads, but adjacent pieces of the same
//! part add up. A framer does no I/O and allocates nothing.
//!
//! # Broken frames
//!
//! [`Event::Broken`] is what RFC 9113 makes an error of the connection and a framer can see. It
//! covers no bytes, so that the caller can still pass on what is in hand, and everything behind it
//! is [`Event::Beyond`]. Errors of streams are none of the framer's: [`Frame::payload`] returns
//! them, and the frame can pass.

use super::PREFACE;
use super::frame::{
    FRAME_HEADER, Frame, FrameError, FrameHeader, HeaderFields, Kind, Sender, StreamId,
};

/// What comes next in one direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// The preface of a client. Covers its 24 bytes.
    Preface,
    /// A whole frame. Covers its header and payload.
    Frame(Frame<'a>),
    /// The beginning of a frame that passes in pieces. Covers its header.
    Start(FrameHeader),
    /// This many bytes, at least one, of the payload of the frame that began.
    Piece(Part, usize),
    /// The frame that began is complete. Covers no bytes.
    End(FrameHeader),
    /// The connection can't go on. Covers no bytes, and is returned once; everything that follows
    /// is [`Event::Beyond`].
    Broken(FrameError),
    /// This many bytes, at least one, follow an [`Event::Broken`].
    Beyond(usize),
    /// No event without more bytes. The caller keeps what is not covered and presents it again with
    /// the bytes that follow. It is at most one frame header and the maximum for whole frames.
    NeedMore,
}

/// A part of a payload that passes in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The fields in front of the content, always in one piece. [`HeaderFields::read`] reads them.
    Fields,
    /// DATA: its data. HEADERS, PUSH_PROMISE and CONTINUATION: the header block. Other types: the
    /// payload.
    Content,
    /// The padding.
    Padding,
}

/// Frames one direction of a connection.
#[derive(Debug, Clone)]
pub struct Framer {
    sender: Sender,
    /// Maximum length in bytes of the payload of a whole frame.
    maximum: u32,
    place: Place,
    /// The stream whose header block is not complete.
    block: Option<StreamId>,
}

/// Where in the stream the next byte is.
#[derive(Debug, Clone)]
enum Place {
    /// In the preface, or in front of it.
    Preface,
    /// In front of the first frame, or in its header.
    First,
    /// In front of another frame, in its header, or in a frame that has to be known whole.
    Header,
    /// Behind the header of a frame that has fields, in front of these.
    Fields(FrameHeader),
    /// In the payload of a frame that passes in pieces.
    Payload(Progress),
    /// Where framing failed.
    Beyond,
}

/// How much of a payload is left.
#[derive(Debug, Clone)]
struct Progress {
    header: FrameHeader,
    content: u32,
    padding: u32,
}

// === impl Event ===

impl Event<'_> {
    /// How many bytes the event covers.
    pub fn covers(&self) -> usize {
        match self {
            Self::Preface => PREFACE.len(),
            Self::Frame(frame) => frame.length(),
            Self::Start(_) => FRAME_HEADER,
            Self::Piece(_, length) | Self::Beyond(length) => *length,
            Self::End(_) | Self::Broken(_) | Self::NeedMore => 0,
        }
    }
}

// === impl Framer ===

impl Framer {
    /// A framer for what `sender` sends from its first byte on. Payloads of whole frames have at
    /// most `maximum` bytes; less than 16 means 16.
    pub fn new(sender: Sender, maximum: u32) -> Self {
        let place = match sender {
            Sender::Client => Place::Preface,
            Sender::Server => Place::First,
        };
        Self { sender, maximum: maximum.max(16), place, block: None }
    }

    /// Whether the next byte begins a frame and is outside header blocks: where frames of others
    /// may go in.
    pub fn is_at_boundary(&self) -> bool {
        matches!(self.place, Place::Header) && self.block.is_none()
    }

    /// The stream whose header block is not complete.
    pub fn open_block(&self) -> Option<StreamId> {
        self.block
    }

    /// The next event of `bytes`, which begin with the first byte that no earlier event covers.
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Event<'a> {
        match &mut self.place {
            Place::Preface => self.preface(bytes),
            Place::First | Place::Header => self.header(bytes),
            Place::Fields(header) => {
                let header = *header;
                self.fields(header, bytes)
            }
            Place::Payload(progress) => {
                let event = progress.pass(bytes);
                if let Event::End(header) = event {
                    self.end(&header);
                }
                event
            }
            Place::Beyond if bytes.is_empty() => Event::NeedMore,
            Place::Beyond => Event::Beyond(bytes.len()),
        }
    }

    fn preface<'a>(&mut self, bytes: &'a [u8]) -> Event<'a> {
        let length = bytes.len().min(PREFACE.len());
        if bytes[..length] != PREFACE[..length] {
            return self.broken(FrameError::Preface);
        }
        if length < PREFACE.len() {
            return Event::NeedMore;
        }
        self.place = Place::First;
        Event::Preface
    }

    fn header<'a>(&mut self, bytes: &'a [u8]) -> Event<'a> {
        // A server that does not speak HTTP/2 is known by less than a header.
        if let (Place::First, Some(kind)) = (&self.place, bytes.get(3)) {
            let kind = Kind::new(*kind);
            if kind != Kind::Settings {
                return self.broken(FrameError::FirstFrame(kind));
            }
        }
        let Some((header, rest)) = bytes.split_first_chunk() else { return Event::NeedMore };
        let header = FrameHeader::read(*header);
        if let Err(error) = self.check(&header) {
            return self.broken(error);
        }
        if self.is_whole(&header) {
            let Some(payload) = rest.get(..header.length as usize) else { return Event::NeedMore };
            let frame = Frame { header, payload };
            if header.fields_length() > 0
                && let Err(error) = frame.payload()
            {
                return self.broken(error);
            }
            self.end(&header);
            return Event::Frame(frame);
        }
        if header.fields_length() > 0 {
            self.place = Place::Fields(header);
        } else {
            let content = header.length;
            self.place = Place::Payload(Progress { header, content, padding: 0 });
        }
        Event::Start(header)
    }

    fn fields<'a>(&mut self, header: FrameHeader, bytes: &'a [u8]) -> Event<'a> {
        let length = header.fields_length() as usize;
        let Some(fields) = bytes.get(..length) else { return Event::NeedMore };
        let padding = HeaderFields::read(&header, fields).padding.unwrap_or_default();
        match header.content_length(padding) {
            Ok(content) => {
                let padding = u32::from(padding);
                self.place = Place::Payload(Progress { header, content, padding });
                Event::Piece(Part::Fields, length)
            }
            Err(error) => self.broken(error),
        }
    }

    /// The frame is complete.
    fn end(&mut self, header: &FrameHeader) {
        self.place = Place::Header;
        if header.is_in_block() {
            self.block = (!header.ends_block()).then_some(header.stream);
        }
    }

    fn broken<'a>(&mut self, error: FrameError) -> Event<'a> {
        self.place = Place::Beyond;
        Event::Broken(error)
    }

    /// Whether the frame is one event.
    fn is_whole(&self, header: &FrameHeader) -> bool {
        let in_pieces = matches!(header.kind, Kind::Data | Kind::Other(_));
        !in_pieces && header.length <= self.maximum
    }

    /// Finds what is wrong with a header.
    fn check(&self, header: &FrameHeader) -> Result<(), FrameError> {
        let FrameHeader { kind, stream, length, .. } = *header;
        match self.block {
            Some(block) if kind != Kind::Continuation || stream != block => {
                return Err(FrameError::InBlock { kind, stream, block });
            }
            None if kind == Kind::Continuation => return Err(FrameError::OutsideBlock(stream)),
            _ => {}
        }
        let on_connection = match kind {
            Kind::Settings | Kind::Ping | Kind::GoAway => Some(true),
            Kind::Data
            | Kind::Headers
            | Kind::Priority
            | Kind::RstStream
            | Kind::PushPromise
            | Kind::Continuation => Some(false),
            Kind::WindowUpdate | Kind::PriorityUpdate | Kind::Other(_) => None,
        };
        if on_connection.is_some_and(|is| is != stream.is_connection()) {
            return Err(FrameError::Stream { kind, stream });
        }
        if kind == Kind::PushPromise && self.sender == Sender::Client {
            return Err(FrameError::PushOfClient(stream));
        }
        let fits = match kind {
            Kind::RstStream | Kind::WindowUpdate => length == 4,
            Kind::Ping => length == 8,
            Kind::GoAway => length >= 8,
            Kind::Settings if header.is_ack() => length == 0,
            Kind::Settings => length.is_multiple_of(6),
            _ => length >= header.fields_length(),
        };
        if !fits {
            return Err(header.length_error());
        }
        if matches!(kind, Kind::Settings | Kind::GoAway) && length > self.maximum {
            return Err(FrameError::TooLong { kind, length, maximum: self.maximum });
        }
        if matches!(self.place, Place::First) && header.is_ack() {
            return Err(FrameError::FirstFrame(kind));
        }
        Ok(())
    }
}

// === impl Progress ===

impl Progress {
    /// The event of the next bytes of the payload.
    fn pass<'a>(&mut self, bytes: &'a [u8]) -> Event<'a> {
        let (part, left) = match self {
            Self { content: 1.., .. } => (Part::Content, &mut self.content),
            Self { padding: 1.., .. } => (Part::Padding, &mut self.padding),
            Self { header, .. } => return Event::End(*header),
        };
        if bytes.is_empty() {
            return Event::NeedMore;
        }
        let length = bytes.len().min(*left as usize);
        // Fits, since it is not more than what is left.
        *left -= length as u32;
        Event::Piece(part, length)
    }
}

#[cfg(test)]
mod tests;
