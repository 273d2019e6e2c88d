//! Stands in for an app that can't be reached, so that streams that match reach their targets.
//!
//! It speaks as a server without any limits or wishes: empty SETTINGS, answers to SETTINGS and
//! PING, and windows that are given back. It refuses the first stream that gets to it, and leaves:
//! RST_STREAM with REFUSED_STREAM, GOAWAY, and the end of the connection. The client connects again
//! then, and may find the app. Streams of targets go on as they do when an app goes.
//!
//! If that happens before the client has got anything, its connection is reset. A client that does
//! not wait for the server's SETTINGS sees nearly what it would see directly.

use std::mem;

use interceptor_wire::http2::{
    ErrorCode, Event, FrameHeader, Framer, Increment, Kind, Payload, Sender, StreamId, encode,
};

use super::limits::MAX_WHOLE;
use crate::relay::stats::Outcome;

/// The server in place of the app.
pub(super) struct Absent {
    framer: Framer,
    /// Not covered by an event.
    unread: Vec<u8>,
    /// For the client.
    out: Vec<u8>,
    state: State,
    /// What the connection is for rules that had no use for it.
    pub(super) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Serving,
    /// A stream was refused.
    Refused,
    /// The client has ended.
    Finished,
}

/// What comes from it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    /// Whole frames.
    Frames(Vec<u8>),
    /// FIN.
    End,
}

// === impl Absent ===

impl Absent {
    /// `outcome` says why the app can't be reached.
    pub(super) fn new(outcome: Outcome) -> Self {
        let mut out = Vec::new();
        encode::settings(&mut out, []);
        Self {
            framer: Framer::new(Sender::Client, MAX_WHOLE),
            unread: Vec::new(),
            out,
            state: State::Serving,
            outcome,
        }
    }

    /// Whether a stream was refused.
    pub(super) fn has_refused(&self) -> bool {
        self.state == State::Refused
    }

    /// The client has sent FIN.
    pub(super) fn finish(&mut self) {
        if self.state == State::Serving {
            self.state = State::Finished;
        }
    }

    /// Takes bytes for the app.
    pub(super) fn on_bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut unread = mem::take(&mut self.unread);
        unread.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            let event = self.framer.next(&unread[at..]);
            at += event.covers();
            match event {
                Event::NeedMore => break,
                Event::Frame(frame) => match frame.payload() {
                    Ok(Payload::Settings(_)) => encode::settings_ack(&mut self.out),
                    Ok(Payload::Ping(opaque)) => encode::ping_ack(&mut self.out, opaque),
                    _ => self.on_frame(&frame.header),
                },
                Event::Start(header) => self.on_frame(&header),
                // The joint has followed the same frames before.
                Event::Preface
                | Event::Piece(..)
                | Event::End(_)
                | Event::Broken(_)
                | Event::Beyond(_) => {}
            }
        }
        unread.drain(..at);
        self.unread = unread;
    }

    fn on_frame(&mut self, header: &FrameHeader) {
        match header.kind {
            Kind::Headers => self.refuse(header.stream),
            Kind::Data => {
                if let Some(bytes) = Increment::new(header.length) {
                    encode::connection_window(&mut self.out, bytes);
                }
            }
            _ => {}
        }
    }

    fn refuse(&mut self, stream: StreamId) {
        encode::rst_stream(&mut self.out, stream, ErrorCode::REFUSED_STREAM);
        if self.state != State::Refused {
            self.state = State::Refused;
            let none = StreamId::CONNECTION;
            encode::goaway(&mut self.out, none, ErrorCode::NO_ERROR, b"the app is away");
        }
    }

    /// What it sends next.
    pub(super) fn next(&mut self) -> Said {
        if !self.out.is_empty() {
            Said::Frames(mem::take(&mut self.out))
        } else if self.state == State::Serving {
            Said::Nothing
        } else {
            Said::End
        }
    }
}
