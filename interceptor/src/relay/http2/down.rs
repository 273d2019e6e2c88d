//! From the app to the client.
//!
//! The app believes that the client's window is its own. But a target's DATA takes of it, too, and
//! the app does not know of that: [`Down::owed`] says how much. Each WINDOW_UPDATE of the client
//! pays that off first (`up.rs`), and the rest goes to the app. Until then the app may send more
//! than the client takes. So its DATA may have to be held, and the header blocks behind it, whose
//! order HPACK needs. Frames that carry neither overtake what is held: the client may wait for the
//! app's WINDOW_UPDATE before it reads on.

use interceptor_wire::http2::{
    Change, ConnectionWindow, ErrorCode, Event, FRAME_HEADER, Flags, Frame, FrameHeader, Framer,
    Increment, Kind, Negotiated, OfConnection, Part, Payload, Sender, SettingsError, StreamId,
    encode, hpack::MAX_TABLE,
};

use super::{farewell::Farewell, limits::MAX_WHOLE, link::Link, open::Open, stop::Stop};
use crate::relay::{direction::Direction, observe::Observer as _, write_buffer::WriteBuffer};

/// The direction from the app to the client.
pub(super) struct Down {
    framer: Framer,
    /// Read, and not covered by an event.
    pub(super) unread: Vec<u8>,
    /// On its way to the client.
    pub(super) out: WriteBuffer,
    /// The client's settings, which the app acknowledges.
    pub(super) client: Negotiated,
    /// The app's settings, which the client acknowledges.
    pub(super) app: Negotiated,
    /// The client's initial window of streams before and after its last settings took effect, in
    /// bytes, until the diverted streams follow.
    pub(super) initial_window: Option<(u32, u32)>,
    /// Whether streams have been diverted, and the highest one that is open.
    pub(super) diverted: Option<Option<StreamId>>,
    /// How much the client takes on the whole connection.
    pub(super) window: ConnectionWindow,
    /// The widest that the window was, in bytes.
    widest: u32,
    /// The bytes of targets that the client got and the app does not know of.
    pub(super) owed: u32,
    /// The app has sent its SETTINGS. Nothing may precede them.
    pub(super) has_settings: bool,
    /// Whole frames of the app that wait for the client's window, and maybe one that is arriving.
    held: Vec<u8>,
    /// What becomes of the frame that passes in pieces.
    fate: Fate,
    /// Frames of the relay that wait for the end of a frame of the app.
    control: Vec<u8>,
    /// Targets have something for the client, and have their turn after the next frame of the app.
    pub(super) targets_wait: bool,
    /// What is not covered has frames of the app that wait for that turn to end.
    pub(super) is_cut: bool,
    /// The client has lowered its table to this size in bytes. The next header block says so.
    pub(super) table_size: Option<u32>,
    /// The app has sent GOAWAY.
    pub(super) is_leaving: bool,
    /// How far the client has been asked to leave, since the daemon ends.
    pub(super) farewell: Farewell,
    /// The highest stream that the client's last GOAWAY says to be served. Servers that end in order
    /// name the highest number first, and what they serve later.
    pub(super) told: StreamId,
    /// The app has ended its connection.
    pub(super) end: Option<End>,
}

/// How the app ended its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// FIN.
    Closed,
    /// RST.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    Hold,
}

// === impl Down ===

impl Down {
    pub(super) fn new() -> Self {
        Self {
            framer: Framer::new(Sender::Server, MAX_WHOLE),
            unread: Vec::new(),
            out: WriteBuffer::default(),
            client: Negotiated::default(),
            app: Negotiated::default(),
            initial_window: None,
            diverted: None,
            window: ConnectionWindow::new(),
            widest: ConnectionWindow::new().available(),
            owed: 0,
            has_settings: false,
            held: Vec::new(),
            fate: Fate::Pass,
            control: Vec::new(),
            targets_wait: false,
            is_cut: false,
            table_size: None,
            is_leaving: false,
            farewell: Farewell::default(),
            told: StreamId::MAX,
            end: None,
        }
    }

    /// The client has sent settings before the first frame, and the app has acknowledged them.
    pub(super) fn begin_with(&mut self, client: Negotiated, change: &Change) {
        self.client = client;
        self.on_clients_change(change);
        // No stream was opened before.
        self.initial_window = None;
    }

    /// Whether frames of others may go to the client now.
    pub(super) fn is_at_boundary(&self) -> bool {
        // What is held does not pass, so the client is at a boundary while it arrives.
        self.has_settings && (!self.held.is_empty() || self.framer.is_at_boundary())
            || self.end.is_some()
    }

    /// How many bytes of a target's content the client may get now, as far as the connection is
    /// concerned. Targets get nothing while the app waits for the window. They get more than half of
    /// it: clients give it back when half is used.
    pub(super) fn room_for_targets(&self) -> u32 {
        if !self.held.is_empty() || !self.is_at_boundary() {
            return 0;
        }
        let share = (self.widest - self.widest / 8).saturating_sub(self.owed);
        self.window.available().min(if self.end.is_some() { u32::MAX } else { share })
    }

    /// A target's content goes to the client.
    pub(super) fn use_for_target(&mut self, bytes: u32) {
        // Fits: that is how much there is room for.
        let _ = self.window.consume(bytes);
        self.owed += bytes;
    }

    /// Sends a frame of the relay, at the next boundary.
    pub(super) fn insert(&mut self, frame: impl FnOnce(&mut Vec<u8>)) {
        frame(&mut self.control);
    }

    /// Tells the client that no streams above `last` are served.
    pub(super) fn go_away(&mut self, last: StreamId, code: ErrorCode, debug: &[u8]) {
        // It may never rise (RFC 9113, section 6.8).
        self.told = self.told.min(last);
        encode::goaway(&mut self.control, self.told, code, debug);
    }

    /// Resets a stream of the app, which has ended its connection.
    pub(super) fn reset_lost(&mut self, id: StreamId) {
        let behind_held = self.holds(id);
        let out = if behind_held { &mut self.held } else { &mut self.control };
        encode::rst_stream(out, id, ErrorCode::INTERNAL_ERROR);
    }

    /// The app has ended its connection. Forgets the part of a frame, or of a header block, that
    /// is held last.
    pub(super) fn drop_held_part(&mut self) {
        let (mut end, mut at) = (0, 0);
        while let Some(header) = self.held.get(at..).and_then(<[u8]>::first_chunk) {
            let header = FrameHeader::read(*header);
            at += header.frame_length();
            if at > self.held.len() {
                break;
            }
            if !header.is_in_block() || header.ends_block() {
                end = at;
            }
        }
        self.held.truncate(end);
    }

    /// The client takes more on the whole connection. Returns how much of that the app may know.
    pub(super) fn more_window(&mut self, more: Increment<OfConnection>) -> u32 {
        // A client that exceeds the maximum breaks its connection with the app, which sees it.
        let _ = self.window.add(more);
        self.widest = self.widest.max(self.window.available());
        let kept = more.bytes().min(self.owed);
        self.owed -= kept;
        more.bytes() - kept
    }

    /// Whether nothing waits for the client. What has not arrived whole counts as nothing.
    pub(super) fn is_empty(&self) -> bool {
        let first = self.held.first_chunk().map(|header| FrameHeader::read(*header));
        let is_whole = first.is_some_and(|first| self.held.len() >= first.frame_length());
        self.out.is_empty() && self.control.is_empty() && !is_whole
    }

    /// Sends what may go to the client now. Whether anything did.
    pub(super) fn release(&mut self) -> bool {
        let mut moved = false;
        if !self.control.is_empty() && self.is_at_boundary() {
            self.out.push(&std::mem::take(&mut self.control));
            moved = true;
        }
        while let Some(length) = self.releasable() {
            let header = self.held.first_chunk().map(|header| FrameHeader::read(*header));
            if header.is_some_and(|header| header.is_in_block()) {
                // The app has said it itself.
                self.table_size = None;
            }
            self.out.push(&self.held[..length]);
            self.held.drain(..length);
            moved = true;
        }
        moved | self.release_part()
    }

    /// Sends as much of a held DATA frame as the client takes. It may wait for more before it gives
    /// anything of its window back.
    fn release_part(&mut self) -> bool {
        let Some((header, payload)) = self.held.split_first_chunk_mut() else { return false };
        let whole = FrameHeader::read(*header);
        if whole.kind != Kind::Data {
            return false;
        }
        // Padding stays with the last part, and so does its length in front of the content.
        let (start, padding) = match (whole.flags.contains(Flags::PADDED), payload.first()) {
            (false, _) => (0, 0),
            (true, Some(padding)) => (1, u32::from(*padding)),
            (true, None) => return false,
        };
        let content = whole.length.saturating_sub(start + padding);
        let arrived = payload.len() - start as usize;
        let n = (self.window.available().min(content) as usize).min(arrived);
        if n == 0 {
            return false;
        }
        let part = FrameHeader { length: n as u32, flags: Flags::default(), ..whole };
        *header = FrameHeader { length: whole.length - n as u32, ..whole }.to_bytes();
        let start = start as usize;
        self.out.push(&part.to_bytes());
        self.out.push(&payload[start..start + n]);
        self.held.drain(FRAME_HEADER + start..FRAME_HEADER + start + n);
        // Fits: that is how much there is room for.
        let _ = self.window.consume(n as u32);
        true
    }

    /// Whether the app has ended inside a frame that the client has got a part of.
    pub(super) fn is_inside_frame(&self) -> bool {
        self.held.is_empty() && !self.framer.is_at_boundary() && self.has_settings
    }

    /// Drops what was to be inserted.
    pub(super) fn drop_inserted(&mut self) {
        self.control = Vec::new();
    }

    /// The length of what is held first, if it may pass: a frame, or a header block with all its
    /// frames.
    fn releasable(&mut self) -> Option<usize> {
        let mut length = 0;
        loop {
            let header = FrameHeader::read(*self.held.get(length..)?.first_chunk()?);
            let end = length + header.frame_length();
            if self.held.len() < end {
                return None;
            }
            if header.kind == Kind::Data {
                self.window.consume(header.length).ok()?;
            }
            length = end;
            if !header.is_in_block() || header.ends_block() {
                return Some(length);
            }
        }
    }

    /// Passes bytes of the app on. Returns how many are covered.
    pub(super) fn on_bytes(
        &mut self,
        bytes: &[u8],
        link: &mut Link<'_, '_, '_>,
        open: &mut Open,
    ) -> (usize, Result<(), Stop>) {
        let (mut at, mut from) = (0, 0);
        self.is_cut = false;
        loop {
            if at > 0 && self.is_turn_of_others() {
                link.send(&mut self.out, &bytes[from..at]);
                from = at;
                link.send(&mut self.out, &std::mem::take(&mut self.control));
                if std::mem::take(&mut self.targets_wait) {
                    self.is_cut = at < bytes.len();
                    break;
                }
            }
            let event = self.framer.next(&bytes[at..]);
            let start = at;
            at += event.covers();
            let passes = match event {
                Event::NeedMore => break,
                Event::Preface => true,
                Event::Frame(frame) => match self.on_frame(&frame, open, link) {
                    Ok(passes) => passes,
                    Err(stop) => {
                        link.send(&mut self.out, &bytes[from..start]);
                        return (start, Err(stop));
                    }
                },
                Event::Start(header) => {
                    self.fate = self.fate_of(&header);
                    self.fate == Fate::Pass
                }
                Event::Piece(part, _) => {
                    if part == Part::Content {
                        link.stolen.observe_app().bytes(Direction::Down, &bytes[start..at]);
                    }
                    self.fate == Fate::Pass
                }
                Event::End(header) => {
                    if header.kind == Kind::Data {
                        open.ends(&header);
                    }
                    continue;
                }
                Event::Broken(error) => {
                    link.send(&mut self.out, &bytes[from..start]);
                    return (start, Err(Stop::of_app(error.code(), self.has_settings)));
                }
                Event::Beyond(_) => unreachable!("the relay stops at broken frames"),
            };
            if !passes {
                link.send(&mut self.out, &bytes[from..start]);
                from = at;
                if self.fate == Fate::Hold {
                    self.held.extend_from_slice(&bytes[start..at]);
                }
            }
        }
        link.send(&mut self.out, &bytes[from..at]);
        (at, Ok(()))
    }

    /// Whether others have frames for the client, and a frame of the app has just ended.
    fn is_turn_of_others(&self) -> bool {
        let is_wanted = self.targets_wait || !self.control.is_empty();
        is_wanted && self.held.is_empty() && self.is_at_boundary()
    }

    /// What becomes of a frame that passes in pieces.
    fn fate_of(&mut self, header: &FrameHeader) -> Fate {
        let fits = header.kind != Kind::Data
            || self.window.available() >= header.length
            // An app that sends too much meets the client's judgement.
            || self.diverted.is_none();
        if !self.held.is_empty() || !fits {
            return Fate::Hold;
        }
        if header.kind == Kind::Data {
            let _ = self.window.consume(header.length);
        }
        Fate::Pass
    }

    /// Follows a whole frame. Whether it passes as it is.
    fn on_frame(
        &mut self,
        frame: &Frame<'_>,
        open: &mut Open,
        link: &Link<'_, '_, '_>,
    ) -> Result<bool, Stop> {
        self.fate = Fate::Pass;
        // An error of one stream is the client's to judge.
        let Ok(payload) = frame.payload() else { return Ok(true) };
        match payload {
            Payload::Settings(settings) => {
                self.has_settings = true;
                let wrong = |error: SettingsError| Stop::of_app(error.code(), true);
                self.app.sent(settings).map_err(wrong)?;
                if self.app.announced().header_table_size > MAX_TABLE {
                    return Err(Stop::of_app(ErrorCode::INTERNAL_ERROR, true));
                }
            }
            Payload::SettingsAck => {
                let wrong = |error: SettingsError| Stop::of_app(error.code(), true);
                let change = self.client.acknowledged().map_err(wrong)?;
                self.on_clients_change(&change);
                if !self.held.is_empty() {
                    // What is held follows the settings before.
                    self.fate = Fate::Hold;
                }
            }
            Payload::GoAway { last, code, debug } => {
                self.is_leaving = true;
                let highest = self.diverted.flatten();
                let limit = self.farewell.limit(last);
                if highest <= Some(last) && limit != last {
                    self.go_away(limit, code, debug);
                    return Ok(false);
                }
                if let Some(highest) = highest.filter(|&highest| highest > last) {
                    self.go_away(highest, code, debug);
                    for id in open.above(last) {
                        self.insert(|out| encode::rst_stream(out, id, ErrorCode::REFUSED_STREAM));
                    }
                    return Ok(false);
                }
                self.told = last;
            }
            Payload::RstStream(_) => {
                open.remove(frame.header.stream);
                if self.holds(frame.header.stream) {
                    self.fate = Fate::Hold;
                }
            }
            Payload::Headers { .. } | Payload::PushPromise { .. } | Payload::Continuation(_) => {
                if frame.header.kind == Kind::Headers {
                    open.answered(frame.header.stream, &link.stolen.observe_app());
                    open.ends(&frame.header);
                }
                if !self.held.is_empty() {
                    self.fate = Fate::Hold;
                } else if frame.header.ends_block() {
                    // The app has said it itself.
                    self.table_size = None;
                }
            }
            Payload::Data(_) | Payload::Other(_) if !self.held.is_empty() => self.fate = Fate::Hold,
            Payload::Data(_)
            | Payload::Other(_)
            | Payload::Priority(_)
            | Payload::Ping(_)
            | Payload::PingAck(_)
            | Payload::ConnectionWindow(_)
            | Payload::StreamWindow(_)
            | Payload::PriorityUpdate(..) => {}
        }
        Ok(self.fate == Fate::Pass)
    }

    /// Whether frames of the stream are held.
    fn holds(&self, stream: StreamId) -> bool {
        let mut rest = &self.held[..];
        while let Some(header) = rest.first_chunk() {
            let header = FrameHeader::read(*header);
            if header.stream == stream {
                return true;
            }
            rest = rest.get(header.frame_length()..).unwrap_or_default();
        }
        false
    }

    /// The client's settings take effect for what it receives.
    fn on_clients_change(&mut self, change: &Change) {
        if let Some(smallest) = change.smallest_table_size
            && smallest < change.before.header_table_size
        {
            self.table_size = Some(self.table_size.map_or(smallest, |size| size.min(smallest)));
        }
        let (before, after) = (change.before.initial_window_size, change.after.initial_window_size);
        let before = self.initial_window.map_or(before, |(first, _)| first);
        self.initial_window = Some((before, after)).filter(|(before, after)| before != after);
    }
}
