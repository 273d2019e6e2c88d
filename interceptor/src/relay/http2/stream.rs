//! A diverted stream: one that another connection than the app's first one serves. What waits in
//! each direction.

use std::collections::VecDeque;

use interceptor_wire::http2::{ErrorCode, StreamId, StreamWindow, hpack::Fields};
use tokio::time::Instant;

use crate::relay::observe::ResponseClock;

/// Tells the servers of a connection apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerKey(pub(super) u32);

/// As much of a DATA frame is sent on before the rest of it has arrived, in bytes. Peers count many
/// small frames as an attack.
const WORTH_A_FRAME: usize = 4096;

/// The client gets this much of its window back at a time, in bytes, or half of a smaller window. A
/// client that gets little sends little, and gets little again.
const WORTH_GIVING_BACK: u32 = 16 << 10;

/// As much content of a stream may take of the connection's window until its server is reached, in
/// bytes. If the app serves it after all, its window agrees.
const MAX_USED: u32 = 16 << 10;

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
    /// How much the server may send, as far as it was told. It counts once the stream is open there.
    pub(super) granted: StreamWindow,
    /// Since when the server has as many streams as it takes, if it did so before this one.
    pub(super) waits_since: Option<Instant>,
    /// What the client's WINDOW_UPDATE added before the stream was open at the server, in bytes.
    pub(super) credit: u32,
    /// What the client may be given back of its window, in bytes.
    pub(super) taken: u32,
    /// A DATA frame of the client, or of the server, has not arrived whole.
    pub(super) arriving_up: bool,
    pub(super) arriving_down: bool,
    /// The client has sent END_STREAM.
    pub(super) client_ended: bool,
    /// It was ended by an error: nothing of the client's goes anywhere.
    pub(super) is_reset: bool,
    /// The server has sent END_STREAM.
    pub(super) server_ended: bool,
    /// What the client's DATA took of the connection's window, in bytes. `None`: the client got it
    /// back, so the app does not know of it.
    pub(super) used: Option<u32>,
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

    /// A DATA frame of `bytes` begins. Returns how much of the connection's window the client gets
    /// back now.
    pub(super) fn use_connection(&mut self, bytes: u32) -> u32 {
        match &mut self.used {
            Some(used) if self.theirs.is_none() && *used + bytes <= MAX_USED => {
                *used += bytes;
                0
            }
            used => bytes + used.take().unwrap_or_default(),
        }
    }

    /// How much of its window the client gets back after the server has taken `bytes` more.
    /// `initial` is the app's initial window.
    pub(super) fn give_back(&mut self, bytes: u32, initial: u32) -> u32 {
        if self.client_ended {
            return 0;
        }
        self.taken += bytes;
        let enough = self.taken >= WORTH_GIVING_BACK.min(initial / 2);
        if enough { std::mem::take(&mut self.taken) } else { 0 }
    }

    /// Whether this many bytes for the server are worth a frame.
    pub(super) fn is_worth_sending_up(&self, bytes: usize) -> bool {
        !self.arriving_up || self.up.len() > 1 || bytes >= WORTH_A_FRAME
    }

    /// The same for the client.
    pub(super) fn is_worth_sending_down(&self, bytes: usize) -> bool {
        !self.arriving_down || self.down.len() > 1 || bytes >= WORTH_A_FRAME
    }

    /// Ends the stream by an error, behind what waits for the client.
    pub(super) fn reset(&mut self, code: ErrorCode) {
        self.server_ended = true;
        self.up.clear();
        if !std::mem::replace(&mut self.is_reset, true) {
            self.down.push_back(Down::Reset(code));
        }
    }

    /// The bytes of content that wait for the client.
    pub(super) fn waiting_down(&self) -> usize {
        let content = |item: &Down| match item {
            Down::Data { bytes, .. } => bytes.len(),
            Down::Block { .. } | Down::Reset(_) => 0,
        };
        self.down.iter().map(content).sum()
    }

    /// The bytes that wait for the server: content, and the fields of heads.
    pub(super) fn waiting_up(&self) -> usize {
        let content = |item: &Up| match item {
            Up::Data { bytes, .. } => bytes.len(),
            Up::Block { fields, .. } => fields.list_size(),
        };
        self.up.iter().map(content).sum()
    }
}
