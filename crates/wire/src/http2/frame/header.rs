//! The header of a frame and its parts, RFC 9113 sections 4.1, 5.1.1 and 6.
//!
//! Values keep what they were read from: an unknown type, unknown flags and the reserved bit of the
//! stream identifier come out of [`FrameHeader::to_bytes`] as they went into
//! [`FrameHeader::read`].

use std::fmt;

/// Length of a frame's header in bytes.
pub const FRAME_HEADER: usize = 9;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Length of the payload in bytes, less than 2^24.
    pub length: u32,
    /// The type.
    pub kind: Kind,
    /// The flags, with those that the type does not define.
    pub flags: Flags,
    /// The stream, or [`StreamId::CONNECTION`].
    pub stream: StreamId,
    /// The reserved bit in front of the stream. Recipients ignore it.
    pub reserved: bool,
}

/// The type of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// DATA, content of a message.
    Data,
    /// HEADERS, the beginning of a header block.
    Headers,
    /// PRIORITY.
    Priority,
    /// RST_STREAM, the end of a stream by an error.
    RstStream,
    /// SETTINGS, or their acknowledgement.
    Settings,
    /// PUSH_PROMISE, the beginning of the header block of a promised request.
    PushPromise,
    /// PING, or its acknowledgement.
    Ping,
    /// GOAWAY, the last stream of the connection.
    GoAway,
    /// WINDOW_UPDATE.
    WindowUpdate,
    /// CONTINUATION of a header block.
    Continuation,
    /// PRIORITY_UPDATE, RFC 9218 section 7.1.
    PriorityUpdate,
    /// Another type. Recipients ignore those that they do not know.
    Other(u8),
}

/// The flags of a frame.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

/// The identifier of a stream, 31 bits. Zero is the connection itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u32);

/// The side that sends in one direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The side that connected. Its bytes begin with the connection preface.
    Client,
    /// The side that was connected to.
    Server,
}

// === impl FrameHeader ===

impl FrameHeader {
    /// A header without flags.
    ///
    /// # Panics
    ///
    /// `length` does not fit into 24 bits.
    pub fn new(kind: Kind, stream: StreamId, length: usize) -> Self {
        assert!(length < 1 << 24, "a frame of {length} bytes");
        Self { length: length as u32, kind, flags: Flags::default(), stream, reserved: false }
    }

    /// The same header with these flags.
    pub fn with(self, flags: Flags) -> Self {
        Self { flags, ..self }
    }

    /// Reads the bytes of a header.
    pub fn read(bytes: [u8; FRAME_HEADER]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind: Kind::new(kind),
            flags: Flags(flags),
            stream: StreamId::masked(stream),
            reserved: stream > StreamId::MAX.0,
        }
    }

    /// The bytes of the header.
    pub fn to_bytes(self) -> [u8; FRAME_HEADER] {
        let [_, l0, l1, l2] = self.length.to_be_bytes();
        let stream = self.stream.0 | u32::from(self.reserved) << 31;
        let [s0, s1, s2, s3] = stream.to_be_bytes();
        [l0, l1, l2, self.kind.number(), self.flags.0, s0, s1, s2, s3]
    }

    /// Length of the whole frame in bytes.
    pub fn frame_length(&self) -> usize {
        FRAME_HEADER + self.length as usize
    }

    /// Whether the payload is a part of a header block.
    pub fn is_in_block(&self) -> bool {
        matches!(self.kind, Kind::Headers | Kind::PushPromise | Kind::Continuation)
    }

    /// Whether the frame is the last one of a header block.
    pub fn ends_block(&self) -> bool {
        self.is_in_block() && self.flags.contains(Flags::END_HEADERS)
    }

    /// Whether the frame is the last one of its sender on its stream, or begins the header block
    /// that is.
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Headers) && self.flags.contains(Flags::END_STREAM)
    }

    /// Whether the frame acknowledges SETTINGS or a PING.
    pub fn is_ack(&self) -> bool {
        matches!(self.kind, Kind::Settings | Kind::Ping) && self.flags.contains(Flags::ACK)
    }

    /// Whether the payload has a length of padding in front, and the padding at its end.
    pub(super) fn is_padded(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Headers | Kind::PushPromise)
            && self.flags.contains(Flags::PADDED)
    }

    /// Length in bytes of the fields in front of the content: of the padding's length, the priority
    /// and the promised stream.
    pub(in crate::http2) fn fields_length(&self) -> u32 {
        let fields = match self.kind {
            Kind::Headers if self.flags.contains(Flags::PRIORITY) => 5,
            Kind::PushPromise => 4,
            _ => 0,
        };
        fields + u32::from(self.is_padded())
    }
}

// === impl Kind ===

impl Kind {
    /// The type with this number.
    pub fn new(number: u8) -> Self {
        match number {
            0x0 => Self::Data,
            0x1 => Self::Headers,
            0x2 => Self::Priority,
            0x3 => Self::RstStream,
            0x4 => Self::Settings,
            0x5 => Self::PushPromise,
            0x6 => Self::Ping,
            0x7 => Self::GoAway,
            0x8 => Self::WindowUpdate,
            0x9 => Self::Continuation,
            0x10 => Self::PriorityUpdate,
            other => Self::Other(other),
        }
    }

    /// The number of the type.
    pub fn number(self) -> u8 {
        match self {
            Self::Data => 0x0,
            Self::Headers => 0x1,
            Self::Priority => 0x2,
            Self::RstStream => 0x3,
            Self::Settings => 0x4,
            Self::PushPromise => 0x5,
            Self::Ping => 0x6,
            Self::GoAway => 0x7,
            Self::WindowUpdate => 0x8,
            Self::Continuation => 0x9,
            Self::PriorityUpdate => 0x10,
            Self::Other(other) => other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "DATA",
            Self::Headers => "HEADERS",
            Self::Priority => "PRIORITY",
            Self::RstStream => "RST_STREAM",
            Self::Settings => "SETTINGS",
            Self::PushPromise => "PUSH_PROMISE",
            Self::Ping => "PING",
            Self::GoAway => "GOAWAY",
            Self::WindowUpdate => "WINDOW_UPDATE",
            Self::Continuation => "CONTINUATION",
            Self::PriorityUpdate => "PRIORITY_UPDATE",
            Self::Other(number) => return write!(f, "type {number:#x}"),
        })
    }
}

// === impl Flags ===

impl Flags {
    /// DATA, HEADERS: the sender sends nothing more on the stream.
    pub const END_STREAM: Self = Self(0x1);
    /// SETTINGS, PING: an acknowledgement.
    pub const ACK: Self = Self(0x1);
    /// HEADERS, PUSH_PROMISE, CONTINUATION: the last frame of the header block.
    pub const END_HEADERS: Self = Self(0x4);
    /// DATA, HEADERS, PUSH_PROMISE: padded.
    pub const PADDED: Self = Self(0x8);
    /// HEADERS: with a priority.
    pub const PRIORITY: Self = Self(0x20);

    /// Whether all of `flags` are set.
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These flags, and `flags` if `set`.
    pub fn with(self, flags: Self, set: bool) -> Self {
        if set { Self(self.0 | flags.0) } else { self }
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({:#04x})", self.0)
    }
}

// === impl StreamId ===

impl StreamId {
    /// The connection itself.
    pub const CONNECTION: Self = Self(0);
    /// The first stream of a client. A request that offers HTTP/2 by `Upgrade` becomes this one.
    pub const FIRST: Self = Self(1);
    /// The highest identifier.
    pub const MAX: Self = Self(u32::MAX >> 1);

    /// The stream with this number, if it fits into 31 bits.
    pub fn new(number: u32) -> Option<Self> {
        (number <= Self::MAX.0).then_some(Self(number))
    }

    /// The stream in the lower 31 bits of a field whose highest bit is reserved, or has another
    /// meaning.
    pub(super) fn masked(field: u32) -> Self {
        Self(field & Self::MAX.0)
    }

    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Whether this is the connection, not a stream.
    pub fn is_connection(self) -> bool {
        self.0 == 0
    }

    /// Whether only a client can open the stream. A server opens the others, by PUSH_PROMISE.
    pub fn is_of_client(self) -> bool {
        self.0 % 2 == 1
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
