//! The streams that the app serves.

use std::collections::HashMap;

use interceptor_wire::http2::{Flags, FrameHeader, Kind, StreamId};

use crate::relay::{
    direction::Direction,
    observe::{Counters, Observer as _, ResponseClock},
};

/// The streams that the app's connection has, until the app has ended them.
#[derive(Default)]
pub(super) struct Open(HashMap<StreamId, ResponseClock>);

/// Whether a frame ends the stream.
pub(super) fn ends_stream(header: &FrameHeader) -> bool {
    matches!(header.kind, Kind::Data | Kind::Headers) && header.flags.contains(Flags::END_STREAM)
}

// === impl Open ===

impl Open {
    /// The app gets the request that opens the stream.
    pub(super) fn add(&mut self, id: StreamId, clock: ResponseClock) {
        self.0.insert(id, clock);
    }

    /// The stream was reset.
    pub(super) fn remove(&mut self, id: StreamId) {
        self.0.remove(&id);
        if self.0.is_empty() && self.0.capacity() > 32 {
            self.0 = HashMap::new();
        }
    }

    /// The app has sent a frame of the stream, which may end it.
    pub(super) fn ends(&mut self, header: &FrameHeader) {
        if ends_stream(header) {
            self.remove(header.stream);
        }
    }

    /// The app has sent a head of the stream.
    pub(super) fn answered(&mut self, id: StreamId, observer: &Counters<'_>) {
        if let Some(clock) = self.0.get_mut(&id) {
            observer.head(Direction::Down, clock);
        }
    }

    /// Whether the app serves none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The streams above `id`.
    pub(super) fn above(&self, id: StreamId) -> Vec<StreamId> {
        self.0.keys().copied().filter(|&open| open > id).collect()
    }
}
