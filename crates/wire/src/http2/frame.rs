//! Frames: their headers, what they say, and what can be wrong with them.

mod error;
mod header;
mod payload;

pub use error::{FrameError, Scope};
pub use header::{FRAME_HEADER, Flags, FrameHeader, Kind, Sender, StreamId};
pub use payload::{Frame, HeaderFields, Payload, Priority};
