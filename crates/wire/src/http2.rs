//! HTTP/2 as on the wire: frames of RFC 9113, and header blocks of RFC 7541.
//!
//! To join the connections of a client and an app frame by frame, the relay needs to know:
//!
//! - where a frame begins and ends: [`Framer`];
//! - what a header block says: [`hpack`];
//! - which settings are in force: [`Negotiated`];
//! - how much may be sent: [`ConnectionWindow`], [`StreamWindow`].
//!
//! [`encode`] writes the frames that the relay makes itself.
//!
//! Nothing here judges a message: names and values are bytes, and frames keep unknown flags, types
//! and reserved bits. What RFC 9113 makes an error of the connection is a [`FrameError`], and the
//! bytes can still be passed on.

pub mod encode;
pub mod hpack;

mod block;
mod error_code;
mod frame;
mod framer;
mod settings;
mod window;

pub use block::{BlockHead, Opening};
pub use error_code::ErrorCode;
pub use frame::{
    FRAME_HEADER, Flags, Frame, FrameError, FrameHeader, HeaderFields, Kind, Payload, Priority,
    Scope, Sender, StreamId,
};
pub use framer::{Event, Framer, Part};
pub use settings::{
    Change, DEFAULT_TABLE_SIZE, FrameSize, MAX_UNACKNOWLEDGED, Negotiated, Setting, SettingId,
    Settings, SettingsError, SettingsFrame,
};
pub use window::{
    ConnectionWindow, INITIAL_CONNECTION_WINDOW, Increment, MAX_WINDOW, OfConnection, OfStream,
    StreamWindow, Window, WindowError,
};

pub use crate::opening::HTTP2_PREFACE as PREFACE;
