//! What is wrong with a frame, and how a recipient that follows RFC 9113 takes it.

use super::header::{Kind, StreamId};
use crate::http2::error_code::ErrorCode;

/// An error in a frame. Its bytes can still be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The client's first bytes are not the connection preface.
    #[error("no connection preface")]
    Preface,
    /// The first frame of a side is not SETTINGS.
    #[error("the first frame is {0}, not SETTINGS")]
    FirstFrame(Kind),
    /// A length that the type does not allow.
    #[error("{kind} on stream {stream} has {length} bytes")]
    Length {
        /// The type of the frame.
        kind: Kind,
        /// The stream of the frame.
        stream: StreamId,
        /// The length of its payload in bytes.
        length: u32,
    },
    /// More bytes than the caller keeps, in a frame that has to be known whole.
    #[error("{kind} has {length} bytes, and at most {maximum} are kept")]
    TooLong {
        /// The type of the frame.
        kind: Kind,
        /// The length of its payload in bytes.
        length: u32,
        /// The maximum that the framer was made with.
        maximum: u32,
    },
    /// Padding that is longer than the rest of its frame.
    #[error("{kind} on stream {stream} has {padding} bytes of padding, and {left} are left")]
    Padding {
        /// The type of the frame.
        kind: Kind,
        /// The stream of the frame.
        stream: StreamId,
        /// The length of the padding in bytes.
        padding: u8,
        /// How many bytes follow the fields in front.
        left: u32,
    },
    /// A frame of the connection on a stream, or a frame of a stream on the connection.
    #[error("{kind} on stream {stream}")]
    Stream {
        /// The type of the frame.
        kind: Kind,
        /// The stream that the frame names.
        stream: StreamId,
    },
    /// Another frame inside a header block, RFC 9113 section 4.3.
    #[error("{kind} on stream {stream} inside a header block of stream {block}")]
    InBlock {
        /// The type of the frame.
        kind: Kind,
        /// The stream of the frame.
        stream: StreamId,
        /// The stream of the header block.
        block: StreamId,
    },
    /// CONTINUATION outside a header block.
    #[error("CONTINUATION on stream {0} outside a header block")]
    OutsideBlock(StreamId),
    /// PUSH_PROMISE of a client.
    #[error("PUSH_PROMISE of a client on stream {0}")]
    PushOfClient(StreamId),
    /// WINDOW_UPDATE by zero bytes.
    #[error("WINDOW_UPDATE by zero bytes on stream {0}")]
    ZeroIncrement(StreamId),
}

/// What an error ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The connection, by GOAWAY.
    Connection,
    /// One stream, by RST_STREAM.
    Stream(StreamId),
}

// === impl FrameError ===

impl FrameError {
    /// The code by which a recipient reports the error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Length { .. } | Self::TooLong { .. } => ErrorCode::FRAME_SIZE_ERROR,
            Self::Preface
            | Self::FirstFrame(_)
            | Self::Padding { .. }
            | Self::Stream { .. }
            | Self::InBlock { .. }
            | Self::OutsideBlock(_)
            | Self::PushOfClient(_)
            | Self::ZeroIncrement(_) => ErrorCode::PROTOCOL_ERROR,
        }
    }

    /// What the error ends.
    pub fn scope(&self) -> Scope {
        match *self {
            Self::Length { kind: Kind::Priority, stream, .. } => Scope::Stream(stream),
            Self::ZeroIncrement(stream) if !stream.is_connection() => Scope::Stream(stream),
            _ => Scope::Connection,
        }
    }
}
