//! What is in a frame that is known whole.

use super::error::FrameError;
use super::header::{FrameHeader, Kind, StreamId};
use crate::http2::error_code::ErrorCode;
use crate::http2::settings::SettingsFrame;
use crate::http2::window::{Increment, OfConnection, OfStream};

/// A whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its header.
    pub header: FrameHeader,
    /// The bytes behind the header, exactly as many as it says.
    pub payload: &'a [u8],
}

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// DATA, without its padding.
    Data(&'a [u8]),
    /// HEADERS.
    Headers {
        /// The fields in front.
        fields: HeaderFields,
        /// The first part of the header block.
        fragment: &'a [u8],
    },
    /// PRIORITY.
    Priority(Priority),
    /// RST_STREAM.
    RstStream(ErrorCode),
    /// SETTINGS without ACK.
    Settings(SettingsFrame<'a>),
    /// SETTINGS with ACK.
    SettingsAck,
    /// PUSH_PROMISE.
    PushPromise {
        /// The fields in front.
        fields: HeaderFields,
        /// The first part of the header block.
        fragment: &'a [u8],
    },
    /// PING without ACK.
    Ping([u8; 8]),
    /// PING with ACK.
    PingAck([u8; 8]),
    /// GOAWAY.
    GoAway {
        /// The highest stream that its sender may have processed.
        last: StreamId,
        /// Why the connection ends.
        code: ErrorCode,
        /// Text for diagnosis.
        debug: &'a [u8],
    },
    /// WINDOW_UPDATE of the connection.
    ConnectionWindow(Increment<OfConnection>),
    /// WINDOW_UPDATE of a stream.
    StreamWindow(Increment<OfStream>),
    /// CONTINUATION: a further part of the header block.
    Continuation(&'a [u8]),
    /// PRIORITY_UPDATE: the stream that it is about, and the priority as a structured field.
    PriorityUpdate(StreamId, &'a [u8]),
    /// A frame of another type, or a PRIORITY_UPDATE that is too short.
    Other(&'a [u8]),
}

/// The fields in front of the first part of a header block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeaderFields {
    /// The length of the padding in bytes, if the frame is padded.
    pub padding: Option<u8>,
    /// The priority, if HEADERS has one.
    pub priority: Option<Priority>,
    /// The stream that a PUSH_PROMISE opens.
    pub promised: Option<StreamId>,
}

/// The fields of a priority, RFC 9113 section 6.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// Whether the dependency is exclusive.
    pub exclusive: bool,
    /// The stream that this one depends on.
    pub dependency: StreamId,
    /// The weight as on the wire, one less than its meaning.
    pub weight: u8,
}

// === impl Frame ===

impl<'a> Frame<'a> {
    /// Length of the frame in bytes, with its header.
    pub fn length(&self) -> usize {
        self.header.frame_length()
    }

    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// The length does not fit the type, the padding is longer than the rest, or WINDOW_UPDATE is
    /// by zero bytes. [`FrameError::scope`] tells what that ends.
    pub fn payload(&self) -> Result<Payload<'a>, FrameError> {
        let payload = self.payload;
        Ok(match self.header.kind {
            Kind::Data => Payload::Data(self.content()?.1),
            Kind::Headers => {
                let (fields, fragment) = self.content()?;
                Payload::Headers { fields, fragment }
            }
            Kind::PushPromise => {
                let (fields, fragment) = self.content()?;
                Payload::PushPromise { fields, fragment }
            }
            Kind::Continuation => Payload::Continuation(payload),
            Kind::Priority => Payload::Priority(Priority::read(self.exactly()?)),
            Kind::RstStream => Payload::RstStream(ErrorCode(number(self.exactly()?))),
            Kind::Settings if self.header.is_ack() => {
                let [] = self.exactly()?;
                Payload::SettingsAck
            }
            Kind::Settings => {
                Payload::Settings(SettingsFrame::read(payload).ok_or_else(|| self.length_error())?)
            }
            Kind::Ping if self.header.is_ack() => Payload::PingAck(self.exactly()?),
            Kind::Ping => Payload::Ping(self.exactly()?),
            Kind::GoAway => {
                let (last, rest) = self.split(payload)?;
                let (code, debug) = self.split(rest)?;
                let last = StreamId::masked(number(last));
                Payload::GoAway { last, code: ErrorCode(number(code)), debug }
            }
            Kind::WindowUpdate => {
                self.window_update(number(self.exactly()?) & StreamId::MAX.number())?
            }
            Kind::PriorityUpdate => match payload.split_first_chunk() {
                Some((stream, value)) => {
                    Payload::PriorityUpdate(StreamId::masked(number(*stream)), value)
                }
                None => Payload::Other(payload),
            },
            Kind::Other(_) => Payload::Other(payload),
        })
    }

    fn window_update(&self, increment: u32) -> Result<Payload<'a>, FrameError> {
        let stream = self.header.stream;
        let payload = if stream.is_connection() {
            Increment::new(increment).map(Payload::ConnectionWindow)
        } else {
            Increment::new(increment).map(Payload::StreamWindow)
        };
        payload.ok_or(FrameError::ZeroIncrement(stream))
    }

    /// The fields in front, and what is between them and the padding.
    fn content(&self) -> Result<(HeaderFields, &'a [u8]), FrameError> {
        let length = self.header.fields_length() as usize;
        let (fields, rest) =
            self.payload.split_at_checked(length).ok_or_else(|| self.length_error())?;
        let fields = HeaderFields::read(&self.header, fields);
        let left = self.header.content_length(fields.padding.unwrap_or_default())?;
        Ok((fields, &rest[..left as usize]))
    }

    fn exactly<const N: usize>(&self) -> Result<[u8; N], FrameError> {
        self.payload.try_into().map_err(|_| self.length_error())
    }

    fn split<'b>(&self, bytes: &'b [u8]) -> Result<([u8; 4], &'b [u8]), FrameError> {
        let (first, rest) = bytes.split_first_chunk().ok_or_else(|| self.length_error())?;
        Ok((*first, rest))
    }

    fn length_error(&self) -> FrameError {
        self.header.length_error()
    }
}

fn number(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes)
}

// === impl FrameHeader ===

impl FrameHeader {
    pub(in crate::http2) fn length_error(&self) -> FrameError {
        FrameError::Length { kind: self.kind, stream: self.stream, length: self.length }
    }

    /// Length in bytes of the content between the fields in front and the padding.
    pub(in crate::http2) fn content_length(&self, padding: u8) -> Result<u32, FrameError> {
        let left =
            self.length.checked_sub(self.fields_length()).ok_or_else(|| self.length_error())?;
        let (kind, stream) = (self.kind, self.stream);
        left.checked_sub(u32::from(padding)).ok_or(FrameError::Padding {
            kind,
            stream,
            padding,
            left,
        })
    }
}

// === impl HeaderFields ===

impl HeaderFields {
    /// Reads the fields in front of the content of a DATA, HEADERS or PUSH_PROMISE frame. They are
    /// the piece that [`Part::Fields`](crate::http2::Part::Fields) covers.
    ///
    /// Bytes that are missing count as zero.
    pub fn read(header: &FrameHeader, bytes: &[u8]) -> Self {
        let mut bytes = bytes.iter().copied();
        let mut byte = || bytes.next().unwrap_or_default();
        let padding = header.is_padded().then(&mut byte);
        let (priority, promised) = match header.fields_length() - u32::from(padding.is_some()) {
            5 => (Some(Priority::read([byte(), byte(), byte(), byte(), byte()])), None),
            4 => (None, Some(StreamId::masked(number([byte(), byte(), byte(), byte()])))),
            _ => (None, None),
        };
        Self { padding, priority, promised }
    }
}

// === impl Priority ===

impl Priority {
    fn read([d0, d1, d2, d3, weight]: [u8; 5]) -> Self {
        let dependency = number([d0, d1, d2, d3]);
        Self {
            exclusive: dependency > StreamId::MAX.number(),
            dependency: StreamId::masked(dependency),
            weight,
        }
    }

    /// The bytes of the fields.
    pub fn to_bytes(self) -> [u8; 5] {
        let dependency = self.dependency.number() | u32::from(self.exclusive) << 31;
        let [d0, d1, d2, d3] = dependency.to_be_bytes();
        [d0, d1, d2, d3, self.weight]
    }
}
