//! From the client to the app, and to the servers of diverted streams.

use interceptor_wire::http2::{
    BlockHead, Change, ErrorCode, Event, Frame, FrameHeader, Framer, Increment, Kind, Negotiated,
    Opening, Part, Payload, Sender, SettingsError, StreamId, encode,
    hpack::{Decoder, Encoder, Fields, MAX_FIELD},
};

use super::{
    diversion::Diversion,
    down::Down,
    limits::{MAX_FIELDS, MAX_WHOLE},
    link::Link,
    open::{Open, ends_stream},
    request::Head,
    stop::Stop,
    to_app::ToApp,
};
use crate::relay::{direction::Direction, observe::Observer as _, select::Decided};

/// The direction from the client.
pub(super) struct Up {
    framer: Framer,
    decoder: Decoder,
    /// Read, and not covered by an event.
    pub(super) unread: Vec<u8>,
    /// Number of bytes of the preface that the app has got before.
    pub(super) given: usize,
    to_app: ToApp,
    /// The highest stream that the client has opened.
    highest: StreamId,
    /// A header block that is not complete.
    block: Option<Block>,
    /// The fields of the last header block. Empty between blocks.
    fields: Fields,
    /// A matching request that waits for the app's SETTINGS.
    pub(super) waiting: Option<Box<Waiting>>,
    fate: Fate,
    /// The client has sent FIN.
    pub(super) is_over: bool,
}

/// A header block in several frames.
struct Block {
    head: BlockHead,
    /// The frames so far.
    raw: Vec<u8>,
}

/// A request for a target before the app has shown that it speaks HTTP/2.
pub(super) struct Waiting {
    head: BlockHead,
    /// The frames of the header block.
    pub(super) raw: Vec<u8>,
    fields: Fields,
    decided: Decided,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It goes to the app as it is.
    Pass,
    /// It goes nowhere.
    Drop,
    /// Its content goes to the server of a diverted stream.
    Divert(StreamId),
}

/// What becomes of a whole frame.
enum Verdict {
    Pass,
    Drop,
    /// These frames go to the app in its place.
    Replace(Vec<u8>),
    /// A part of a header block that is not complete.
    Keep,
    /// Nothing more is read until the app has sent its SETTINGS.
    Wait,
}

/// What the client's frames have an effect on.
pub(super) struct World<'w, 'a> {
    pub(super) down: &'w mut Down,
    pub(super) diversion: &'w mut Option<Box<Diversion<'a>>>,
    pub(super) open: &'w mut Open,
}

// === impl Up ===

impl Up {
    pub(super) fn new() -> Self {
        Self {
            framer: Framer::new(Sender::Client, MAX_WHOLE),
            decoder: Decoder::new(MAX_FIELD),
            unread: Vec::new(),
            given: 0,
            to_app: ToApp::new(),
            highest: StreamId::CONNECTION,
            block: None,
            fields: Fields::default(),
            waiting: None,
            fate: Fate::Pass,
            is_over: false,
        }
    }

    /// The app has got a request before the first frame. It is this stream.
    pub(super) fn begin_with(&mut self, stream: StreamId) {
        self.highest = stream;
        self.to_app.highest = stream;
    }

    /// An encoder that goes on where the client's ends, whose blocks the app has got so far.
    fn encoder(&self, app: &Negotiated) -> Encoder {
        let limit = app.in_force().header_table_size.min(app.announced().header_table_size);
        Encoder::taking_over(limit, self.decoder.table_maximum())
    }

    /// What goes to the app, between two reads.
    pub(super) fn way_to_app(&mut self) -> &mut ToApp {
        self.to_app.is_at_boundary = self.framer.is_at_boundary() && !self.is_over;
        &mut self.to_app
    }

    /// The highest stream that the client has opened.
    pub(super) fn highest(&self) -> StreamId {
        self.highest
    }

    /// What was read of a header block and not passed.
    pub(super) fn kept(&mut self) -> Vec<u8> {
        let block = self.block.take().map(|block| block.raw);
        block.or_else(|| self.waiting.take().map(|waiting| waiting.raw)).unwrap_or_default()
    }

    /// Passes bytes of the client on. Returns how many are covered.
    pub(super) fn on_bytes<'a>(
        &mut self,
        bytes: &[u8],
        link: &mut Link<'_, '_, 'a>,
        world: &mut World<'_, 'a>,
    ) -> (usize, Result<(), Stop>) {
        let (mut at, mut from) = (0, std::mem::take(&mut self.given));
        while self.waiting.is_none() {
            let event = self.framer.next(&bytes[at..]);
            let start = at;
            at += event.covers();
            let verdict = match event {
                Event::NeedMore => break,
                Event::Preface => Ok(Verdict::Pass),
                Event::Frame(frame) => self.on_frame(&frame, &bytes[start..at], link, world),
                Event::Start(header) => self.on_start(&header, world),
                Event::Piece(part, _) => Ok(self.on_piece(part, &bytes[start..at], link, world)),
                Event::End(header) => {
                    self.on_end(&header, world);
                    continue;
                }
                Event::Broken(error) => Err(Stop::of_client(error.code())),
                Event::Beyond(_) => unreachable!("the relay stops at broken frames"),
            };
            match verdict {
                Ok(Verdict::Pass) => {}
                Ok(Verdict::Drop | Verdict::Keep | Verdict::Wait) => {
                    link.send(&mut self.to_app.out, &bytes[from..start]);
                    from = at;
                }
                Ok(Verdict::Replace(frames)) => {
                    link.send(&mut self.to_app.out, &bytes[from..start]);
                    link.send(&mut self.to_app.out, &frames);
                    from = at;
                }
                Err(stop) => {
                    link.send(&mut self.to_app.out, &bytes[from..start]);
                    return (start, Err(stop));
                }
            }
        }
        link.send(&mut self.to_app.out, &bytes[from..at]);
        (at, Ok(()))
    }

    /// The app has sent its SETTINGS: a request that waited for them is diverted.
    pub(super) fn go_on<'a>(&mut self, link: &Link<'_, '_, 'a>, world: &mut World<'_, 'a>) {
        if let Some(waiting) = self.waiting.take() {
            let Waiting { head, fields, decided, .. } = *waiting;
            self.divert(&head, fields, decided, link, world);
        }
    }

    fn on_frame<'a>(
        &mut self,
        frame: &Frame<'_>,
        raw: &[u8],
        link: &Link<'_, '_, 'a>,
        world: &mut World<'_, 'a>,
    ) -> Result<Verdict, Stop> {
        let id = frame.header.stream;
        let Ok(payload) = frame.payload() else {
            // An error of one stream is the app's to judge, if the stream is the app's.
            return Ok(if self.is_diverted(id, world) { Verdict::Drop } else { Verdict::Pass });
        };
        let wrong = |error: SettingsError| Stop::of_client(error.code());
        match payload {
            Payload::Settings(settings) => world.down.client.sent(settings).map_err(wrong)?,
            Payload::SettingsAck => {
                let change = world.down.app.acknowledged().map_err(wrong)?;
                self.on_apps_change(&change, world);
            }
            Payload::PingAck(opaque) => {
                if world.down.farewell.answered(opaque) {
                    return Ok(Verdict::Drop);
                }
                if world.diversion.as_mut().is_some_and(|diversion| diversion.answered(opaque)) {
                    return Ok(Verdict::Drop);
                }
            }
            Payload::ConnectionWindow(more) => {
                let rest = world.down.more_window(more);
                if rest != more.bytes() {
                    let mut frames = Vec::new();
                    if let Some(rest) = Increment::new(rest) {
                        encode::connection_window(&mut frames, rest);
                    }
                    return Ok(Verdict::Replace(frames));
                }
            }
            Payload::StreamWindow(more) => {
                if let Some(diversion) = world.diversion
                    && diversion.more_window(id, more, world.down)
                {
                    return Ok(Verdict::Drop);
                }
            }
            Payload::RstStream(code) => {
                world.open.remove(id);
                if let Some(diversion) = world.diversion
                    && diversion.reset_by_client(id, code)
                {
                    return Ok(Verdict::Drop);
                }
            }
            Payload::PriorityUpdate(about, _) => {
                if world.diversion.as_ref().is_some_and(|diversion| diversion.knows(about)) {
                    return Ok(Verdict::Drop);
                }
            }
            Payload::Headers { fields, fragment } => {
                let Some(head) = BlockHead::new(&frame.header, &fields) else {
                    return Ok(Verdict::Pass);
                };
                return self.on_fragment(Some(head), &frame.header, fragment, raw, link, world);
            }
            Payload::Continuation(fragment) => {
                return self.on_fragment(None, &frame.header, fragment, raw, link, world);
            }
            Payload::Data(_)
            | Payload::Priority(_)
            | Payload::Ping(_)
            | Payload::GoAway { .. }
            | Payload::PushPromise { .. }
            | Payload::Other(_) => {}
        }
        if self.is_diverted(id, world) {
            return Ok(Verdict::Drop);
        }
        Ok(Verdict::Pass)
    }

    /// Whether the stream is or was diverted, as far as is remembered. The app has never seen it.
    fn is_diverted(&self, id: StreamId, world: &World<'_, '_>) -> bool {
        let Some(diversion) = world.diversion.as_ref() else { return false };
        diversion.knows(id) || (self.to_app.highest < id && id <= self.highest)
    }

    fn on_apps_change(&mut self, change: &Change, world: &mut World<'_, '_>) {
        let Some(smallest) = change.smallest_table_size else { return };
        for limit in [smallest, change.after.header_table_size] {
            self.decoder.set_limit(limit);
            if let Some(diversion) = world.diversion {
                diversion.encoder.set_limit(limit);
            }
        }
    }

    /// Decodes a part of a header block. `head` is that of its first frame.
    fn on_fragment<'a>(
        &mut self,
        head: Option<BlockHead>,
        header: &FrameHeader,
        mut fragment: &[u8],
        raw: &[u8],
        link: &Link<'_, '_, 'a>,
        world: &mut World<'_, 'a>,
    ) -> Result<Verdict, Stop> {
        let wrong = |_| Stop::of_client(ErrorCode::COMPRESSION_ERROR);
        let too_long = Stop::of_client(ErrorCode::ENHANCE_YOUR_CALM);
        while let Some(field) = self.decoder.next(&mut fragment).map_err(wrong)? {
            self.fields.push(field);
            // A few bytes may stand for a large field of the table, again and again.
            if self.fields.list_size() > MAX_FIELDS {
                self.fields.release();
                return Err(too_long);
            }
        }
        let kept = self.block.as_ref().map_or(0, |block| block.raw.len());
        if kept + raw.len() > MAX_WHOLE as usize {
            return Err(too_long);
        }
        if header.ends_block() {
            self.decoder.finish().map_err(wrong)?;
        }
        // A frame that can't be decoded is none of what is kept: it has not been covered.
        if let Some(block) = &mut self.block {
            block.raw.extend_from_slice(raw);
        }
        if !header.ends_block() {
            if let Some(head) = head {
                self.block = Some(Block { head, raw: raw.to_vec() });
            }
            return Ok(Verdict::Keep);
        }
        let (head, whole) = match (self.block.take(), head) {
            (Some(Block { head, raw }), _) => (head, Some(raw)),
            (None, Some(head)) => (head, None),
            (None, None) => return Ok(Verdict::Pass),
        };
        let fields = std::mem::take(&mut self.fields);
        let verdict = self.on_block(&head, fields, whole.as_deref().unwrap_or(raw), link, world);
        Ok(match (verdict, whole) {
            // The frames before were not passed.
            (Verdict::Pass, Some(whole)) => Verdict::Replace(whole),
            (verdict, _) => verdict,
        })
    }

    /// A whole header block: a request, or trailers. `raw` are its frames.
    fn on_block<'a>(
        &mut self,
        head: &BlockHead,
        fields: Fields,
        raw: &[u8],
        link: &Link<'_, '_, 'a>,
        world: &mut World<'_, 'a>,
    ) -> Verdict {
        let id = head.stream;
        if id > self.highest && id.is_of_client() {
            self.highest = id;
            if world.down.end.is_some() {
                // The client has been told that nobody serves it here.
                return Verdict::Drop;
            }
            // The client opens those above on another connection.
            let decided = if id > world.down.told {
                Decided::default()
            } else {
                link.stolen.decide(&Head::new(&fields))
            };
            if decided.target.is_some() {
                if !world.down.has_settings {
                    let raw = raw.to_vec();
                    self.waiting = Some(Box::new(Waiting { head: *head, raw, fields, decided }));
                    return Verdict::Wait;
                }
                self.divert(head, fields, decided, link, world);
                return Verdict::Drop;
            }
            self.to_app.highest = id;
            let mut clock = decided.clock;
            link.stolen.observe_app().head(Direction::Up, &mut clock);
            world.open.add(id, clock);
        } else if let Some(diversion) = world.diversion
            && diversion.trailers(id, &fields)
        {
            return Verdict::Drop;
        } else if self.is_diverted(id, world) {
            return Verdict::Drop;
        }
        match world.diversion {
            None => {
                self.keep_memory(fields);
                Verdict::Pass
            }
            Some(diversion) => {
                let mut frames = Vec::new();
                let size = world.down.app.in_force().max_frame_size;
                diversion.encode(&mut frames, head, &fields, size);
                self.keep_memory(fields);
                Verdict::Replace(frames)
            }
        }
    }

    /// Keeps the memory of small blocks for the next one.
    fn keep_memory(&mut self, mut fields: Fields) {
        if fields.list_size() <= 2048 {
            fields.clear();
            self.fields = fields;
        }
    }

    fn divert<'a>(
        &mut self,
        head: &BlockHead,
        fields: Fields,
        decided: Decided,
        link: &Link<'_, '_, 'a>,
        world: &mut World<'_, 'a>,
    ) {
        let Opening::Headers { end_stream, .. } = head.opening else { return };
        let app = &world.down.app;
        let encoder = || Box::new(Diversion::new(link.stolen, self.encoder(app)));
        let diversion = world.diversion.get_or_insert_with(encoder);
        diversion.divert(head.stream, fields, end_stream, decided, world.down);
    }

    /// A frame that passes in pieces begins.
    fn on_start(
        &mut self,
        header: &FrameHeader,
        world: &mut World<'_, '_>,
    ) -> Result<Verdict, Stop> {
        if header.is_in_block() {
            return Err(Stop::of_client(ErrorCode::ENHANCE_YOUR_CALM));
        }
        let id = header.stream;
        self.fate = Fate::Pass;
        if let Some(diversion) = world.diversion
            && !id.is_connection()
        {
            if diversion.streams.contains(id) {
                let is_data = header.kind == Kind::Data;
                self.fate = if is_data { Fate::Divert(id) } else { Fate::Drop };
            } else if self.is_diverted(id, world) {
                self.fate = Fate::Drop;
            }
        }
        if self.fate != Fate::Pass
            && header.kind == Kind::Data
            && let Some(diversion) = world.diversion
        {
            diversion.on_data_start(id, header.length, world.down);
        }
        Ok(if self.fate == Fate::Pass { Verdict::Pass } else { Verdict::Drop })
    }

    fn on_piece(
        &mut self,
        part: Part,
        bytes: &[u8],
        link: &Link<'_, '_, '_>,
        world: &mut World<'_, '_>,
    ) -> Verdict {
        match self.fate {
            Fate::Pass => {
                if part == Part::Content {
                    link.stolen.observe_app().bytes(Direction::Up, bytes);
                }
                Verdict::Pass
            }
            Fate::Drop => Verdict::Drop,
            Fate::Divert(id) => {
                if let Some(diversion) = world.diversion {
                    diversion.on_data(id, part, bytes, world.down);
                }
                Verdict::Drop
            }
        }
    }

    fn on_end(&mut self, header: &FrameHeader, world: &mut World<'_, '_>) {
        if let (Fate::Divert(id), Some(diversion)) = (self.fate, &mut *world.diversion) {
            diversion.on_data_end(id, ends_stream(header));
        }
        self.fate = Fate::Pass;
    }
}
