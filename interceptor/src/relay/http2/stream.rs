//! A diverted stream: one that another connection than the app's first one serves. What waits in
//! each direction.

use std::collections::{HashMap, VecDeque};

use interceptor_wire::http2::{ErrorCode, StreamId, StreamWindow, hpack::Fields};

use super::server::ServerKey;
use crate::relay::observe::ResponseClock;

/// The diverted streams of a connection, by the client's number.
pub(super) type Streams = HashMap<StreamId, Diverted>;

/// A diverted stream.
#[derive(Debug)]
pub(super) struct Diverted {
    pub(super) server: ServerKey,
    /// Its number on the server's connection, once it is open there.
    pub(super) theirs: Option<StreamId>,
    /// From the client, and not sent to the server.
    pub(super) up: VecDeque<Up>,
    /// From the server, and not sent to the client.
    pub(super) down: VecDeque<Down>,
    /// How much the client takes.
    pub(super) client_window: StreamWindow,
    /// How much the server takes. It counts once the stream is open there.
    pub(super) server_window: StreamWindow,
    /// What the client's WINDOW_UPDATE added before the stream was open at the server, in bytes.
    pub(super) credit: u32,
    /// The client has sent END_STREAM.
    pub(super) client_ended: bool,
    /// The server has sent END_STREAM.
    pub(super) server_ended: bool,
    /// The client has sent DATA.
    pub(super) has_content: bool,
    pub(super) clock: ResponseClock,
}

/// What waits for the server.
#[derive(Debug)]
pub(super) enum Up {
    /// A head, or trailers.
    Block { fields: Fields, end: bool },
    /// Content without padding.
    Data { bytes: VecDeque<u8>, end: bool },
}

/// What waits for the client.
#[derive(Debug)]
pub(super) enum Down {
    /// A head or trailers, encoded for the client.
    Block { block: Vec<u8>, end: bool },
    /// Content without padding.
    Data { bytes: VecDeque<u8>, end: bool },
    /// The end of the stream by an error.
    Reset(ErrorCode),
}

// === impl Diverted ===

impl Diverted {
    /// Whether both sides have ended it and everything has passed.
    pub(super) fn is_over(&self) -> bool {
        self.client_ended && self.up.is_empty() && self.server_ended && self.down.is_empty()
    }

    /// Appends content from the client.
    pub(super) fn push_up(&mut self, content: &[u8], end: bool) {
        self.client_ended |= end;
        if let Some(Up::Data { bytes, end: ended @ false }) = self.up.back_mut() {
            bytes.extend(content);
            *ended = end;
        } else if end || !content.is_empty() {
            self.up.push_back(Up::Data { bytes: content.iter().copied().collect(), end });
        }
    }

    /// Appends content from the server.
    pub(super) fn push_down(&mut self, content: &[u8], end: bool) {
        self.server_ended |= end;
        if let Some(Down::Data { bytes, end: ended @ false }) = self.down.back_mut() {
            bytes.extend(content);
            *ended = end;
        } else if end || !content.is_empty() {
            self.down.push_back(Down::Data { bytes: content.iter().copied().collect(), end });
        }
    }

    /// Ends the stream by an error, behind what waits for the client.
    pub(super) fn reset(&mut self, code: ErrorCode) {
        self.server_ended = true;
        self.up.clear();
        self.down.push_back(Down::Reset(code));
    }

    /// The bytes of content that wait for the client.
    pub(super) fn waiting_down(&self) -> usize {
        let content = |item: &Down| match item {
            Down::Data { bytes, .. } => bytes.len(),
            Down::Block { .. } | Down::Reset(_) => 0,
        };
        self.down.iter().map(content).sum()
    }

    /// The bytes of content that wait for the server.
    pub(super) fn waiting_up(&self) -> usize {
        let content = |item: &Up| match item {
            Up::Data { bytes, .. } => bytes.len(),
            Up::Block { .. } => 0,
        };
        self.up.iter().map(content).sum()
    }
}
