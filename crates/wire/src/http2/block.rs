//! What a header block is about: the frame that begins it, without its padding.

use super::frame::{Flags, FrameHeader, HeaderFields, Kind, Priority, StreamId};

/// The beginning of a header block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHead {
    /// The stream.
    pub stream: StreamId,
    /// HEADERS or PUSH_PROMISE, with its fields.
    pub opening: Opening,
}

/// What begins a header block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// HEADERS: a request, a response, or trailers.
    Headers {
        /// Whether the sender sends nothing more on the stream.
        end_stream: bool,
        /// The priority, if there is one.
        priority: Option<Priority>,
    },
    /// PUSH_PROMISE of this stream.
    PushPromise(StreamId),
}

// === impl BlockHead ===

impl BlockHead {
    /// The beginning of the block that the frame begins, with `fields` in front of its content.
    /// `None` for other frames.
    pub fn new(header: &FrameHeader, fields: &HeaderFields) -> Option<Self> {
        let opening = match header.kind {
            Kind::Headers => Opening::Headers {
                end_stream: header.flags.contains(Flags::END_STREAM),
                priority: fields.priority,
            },
            Kind::PushPromise => Opening::PushPromise(fields.promised?),
            _ => return None,
        };
        Some(Self { stream: header.stream, opening })
    }
}
