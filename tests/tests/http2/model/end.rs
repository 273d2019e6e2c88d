//! One end of a connection, with exact windows and tables. It fails if its peer breaks a rule.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Read as _, Write as _},
    net::TcpStream,
};

use anyhow::{Context as _, Result, bail, ensure};
use interceptor_wire::http2::{
    BlockHead, ConnectionWindow, ErrorCode, Event, Flags, Frame, FrameHeader, Framer, Increment,
    Kind, MAX_WINDOW, Negotiated, Opening, Part, Payload, Sender, Setting, SettingId, Settings,
    SettingsFrame, StreamId, StreamWindow, encode,
    hpack::{Decoder, Encoder, Field, Fields, MAX_FIELD},
};

use crate::random_frames::Random;

/// One end of a connection.
pub(super) struct End {
    pub(super) name: &'static str,
    is_client: bool,
    socket: TcpStream,
    out: VecDeque<u8>,
    unread: Vec<u8>,
    framer: Framer,
    decoder: Decoder,
    pub(super) encoder: Encoder,
    /// What this end has announced, and what its peer has.
    ours: Negotiated,
    pub(super) theirs: Settings,
    pub(super) send: ConnectionWindow,
    receive: ConnectionWindow,
    /// Received, and not given back, in bytes.
    owed: u32,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    /// The highest stream that a client has opened.
    pub(super) highest: StreamId,
    block: Option<(StreamId, bool, Fields)>,
    /// The stream of the DATA frame that arrives.
    arriving: Option<StreamId>,
    pings: VecDeque<[u8; 8]>,
    /// The peer has sent FIN.
    pub(super) is_over: bool,
    /// What the end has to look at.
    pub(super) news: VecDeque<News>,
}

/// Something that arrived.
#[derive(Debug)]
pub(super) enum News {
    Head(StreamId, Fields),
    Content(StreamId, Vec<u8>),
    /// END_STREAM.
    End(StreamId),
    Reset(StreamId, ErrorCode),
}

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) send: StreamWindow,
    receive: StreamWindow,
    owed: u32,
    /// This end has sent END_STREAM.
    pub(super) has_ended: bool,
    /// The peer has.
    pub(super) peer_ended: bool,
    /// It was reset by this end, and frames of the peer may be on their way, or by the peer.
    pub(super) is_reset: bool,
}

// === impl End ===

impl End {
    pub(super) fn new(name: &'static str, socket: TcpStream, random: &mut Random) -> Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let is_client = name == "client";
        let sender = if is_client { Sender::Server } else { Sender::Client };
        let mut end = Self {
            name,
            is_client,
            socket,
            out: VecDeque::new(),
            unread: Vec::new(),
            framer: Framer::new(sender, 256 << 10),
            decoder: Decoder::new(MAX_FIELD),
            encoder: Encoder::new(4096),
            ours: Negotiated::default(),
            theirs: Settings::default(),
            send: ConnectionWindow::new(),
            receive: ConnectionWindow::new(),
            owed: 0,
            streams: BTreeMap::new(),
            highest: StreamId::CONNECTION,
            block: None,
            arriving: None,
            pings: VecDeque::new(),
            is_over: false,
            news: VecDeque::new(),
        };
        if is_client {
            end.out.extend(crate::raw::PREFACE);
        }
        end.announce(random)?;
        end.pass(usize::MAX)?;
        Ok(end)
    }

    /// The initial window of streams that the peer may go by: the largest that it may know.
    fn granted(&self) -> u32 {
        let announced = self.ours.announced().initial_window_size;
        announced.max(self.ours.in_force().initial_window_size)
    }

    /// Sends SETTINGS with random values, if the last ones are acknowledged.
    pub(super) fn announce(&mut self, random: &mut Random) -> Result<()> {
        if self.ours.unacknowledged() > 0 {
            return Ok(());
        }
        let mut settings = Vec::new();
        let mut add = |id, value: usize| settings.push(Setting { id, value: value as u32 });
        if random.below(2) == 0 {
            add(SettingId::INITIAL_WINDOW_SIZE, 1 + random.below(100_000));
        }
        if random.below(3) == 0 {
            add(SettingId::HEADER_TABLE_SIZE, [0, 100, 4096, 10_000][random.below(4)]);
        }
        if random.below(3) == 0 {
            add(SettingId::MAX_FRAME_SIZE, (16 << 10) + random.below(20_000));
        }
        let before = self.granted();
        let payload: Vec<u8> = settings.iter().flat_map(|setting| setting.to_bytes()).collect();
        self.ours.sent(SettingsFrame::read(&payload).context("settings")?)?;
        self.regrant(before)?;
        self.write(|out| encode::settings(out, settings));
        Ok(())
    }

    fn regrant(&mut self, before: u32) -> Result<()> {
        let after = self.granted();
        for stream in self.streams.values_mut() {
            stream.receive.change_initial(before, after)?;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, frames: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        frames(&mut bytes);
        self.out.extend(bytes);
    }

    /// Writes at most this many bytes. Whether any were written.
    pub(super) fn pass(&mut self, most: usize) -> Result<bool> {
        let bytes = self.out.make_contiguous();
        let bytes = &bytes[..bytes.len().min(most)];
        if bytes.is_empty() {
            return Ok(false);
        }
        match self.socket.write(bytes) {
            Ok(n) => {
                self.out.drain(..n);
                Ok(n > 0)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error).context(self.name),
        }
    }

    /// How many bytes wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Reads at most this many bytes, and follows them. Whether anything came.
    pub(super) fn take(&mut self, most: usize) -> Result<bool> {
        let mut bytes = vec![0; most];
        let n = match self.socket.read(&mut bytes) {
            Ok(0) => {
                self.is_over = true;
                return Ok(false);
            }
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context(self.name),
        };
        let mut unread = std::mem::take(&mut self.unread);
        unread.extend_from_slice(&bytes[..n]);
        let at = self.follow(&unread).with_context(|| format!("at the {}", self.name))?;
        unread.drain(..at);
        self.unread = unread;
        Ok(true)
    }

    fn follow(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut at = 0;
        loop {
            let event = self.framer.next(&bytes[at..]);
            let start = at;
            at += event.covers();
            match event {
                Event::NeedMore => return Ok(at),
                Event::Preface => {}
                Event::Frame(frame) => self.on_frame(&frame)?,
                Event::Start(header) => self.on_start(&header)?,
                Event::Piece(Part::Content, _) => {
                    if let Some(id) = self.arriving {
                        self.news.push_back(News::Content(id, bytes[start..at].to_vec()));
                    }
                }
                Event::Piece(..) => {}
                Event::End(header) => {
                    if header.kind == Kind::Data && header.flags.contains(Flags::END_STREAM) {
                        self.peer_ended(header.stream)?;
                    }
                }
                Event::Broken(error) => bail!("{error}"),
                Event::Beyond(_) => bail!("more behind broken frames"),
            }
        }
    }

    fn on_start(&mut self, header: &FrameHeader) -> Result<()> {
        ensure!(!header.is_in_block(), "a header block of {} bytes", header.length);
        let largest = self.ours.announced().max_frame_size.max(self.ours.in_force().max_frame_size);
        ensure!(header.length <= largest.bytes(), "a frame of {} bytes", header.length);
        self.arriving = None;
        if header.kind != Kind::Data {
            return Ok(());
        }
        self.receive.consume(header.length).context("on the connection")?;
        self.owed += header.length;
        let id = header.stream;
        let stream = self.streams.get_mut(&id).with_context(|| format!("DATA of idle {id:?}"))?;
        if !stream.is_reset {
            ensure!(!stream.peer_ended, "DATA behind the end of {id:?}");
            stream.receive.consume(header.length).with_context(|| format!("on {id:?}"))?;
            stream.owed += header.length;
            self.arriving = Some(id);
        }
        Ok(())
    }

    fn on_frame(&mut self, frame: &Frame<'_>) -> Result<()> {
        let id = frame.header.stream;
        match frame.payload()? {
            Payload::Settings(settings) => {
                for setting in settings.iter() {
                    self.apply(setting)?;
                }
                self.write(encode::settings_ack);
            }
            Payload::SettingsAck => {
                let before = self.granted();
                let change = self.ours.acknowledged()?;
                if let Some(smallest) = change.smallest_table_size {
                    self.decoder.set_limit(smallest);
                    self.decoder.set_limit(change.after.header_table_size);
                }
                self.regrant(before)?;
            }
            Payload::Ping(opaque) => self.write(|out| encode::ping_ack(out, opaque)),
            Payload::PingAck(opaque) => {
                let expected = self.pings.pop_front();
                ensure!(expected == Some(opaque), "an answer to no PING: {opaque:?}");
            }
            Payload::ConnectionWindow(more) => self.send.add(more)?,
            Payload::StreamWindow(more) => {
                self.known(id, "WINDOW_UPDATE")?;
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.send.add(more)?;
                }
            }
            Payload::RstStream(code) => {
                self.known(id, "RST_STREAM")?;
                if let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.is_reset) {
                    stream.is_reset = true;
                    self.news.push_back(News::Reset(id, code));
                }
            }
            Payload::Headers { fragment, .. } => {
                if !self.is_client && id > self.highest {
                    ensure!(id.is_of_client(), "{id:?} is not a client's");
                    self.highest = id;
                    self.open(id);
                }
                let end = frame.header.flags.contains(Flags::END_STREAM);
                self.block = Some((id, end, Fields::default()));
                self.on_fragment(fragment, &frame.header)?;
            }
            Payload::Continuation(fragment) => self.on_fragment(fragment, &frame.header)?,
            Payload::GoAway { last, code, .. } => bail!("GOAWAY of {last:?} with {code:?}"),
            Payload::PushPromise { .. } => bail!("a push"),
            Payload::Data(_)
            | Payload::Priority(_)
            | Payload::PriorityUpdate(..)
            | Payload::Other(_) => {}
        }
        Ok(())
    }

    /// Fails if the stream is idle.
    fn known(&self, id: StreamId, what: &str) -> Result<()> {
        let is_known = id <= self.highest;
        ensure!(is_known, "{what} of the idle stream {id:?} at the {}", self.name);
        Ok(())
    }

    fn on_fragment(&mut self, mut fragment: &[u8], header: &FrameHeader) -> Result<()> {
        let largest = self.ours.announced().max_frame_size.max(self.ours.in_force().max_frame_size);
        ensure!(header.length <= largest.bytes(), "a frame of {} bytes", header.length);
        let (id, end, fields) = self.block.as_mut().context("no block")?;
        while let Some(field) = self.decoder.next(&mut fragment)? {
            fields.push(field);
        }
        if !header.ends_block() {
            return Ok(());
        }
        self.decoder.finish()?;
        let (id, end, fields) = (*id, *end, std::mem::take(fields));
        self.block = None;
        let stream = self.streams.get(&id).with_context(|| format!("a head of idle {id:?}"))?;
        if !stream.is_reset {
            ensure!(!stream.peer_ended, "a head behind the end of {id:?}");
            self.news.push_back(News::Head(id, fields));
            if end {
                self.peer_ended(id)?;
            }
        }
        Ok(())
    }

    fn peer_ended(&mut self, id: StreamId) -> Result<()> {
        let stream = self.streams.get_mut(&id).context("no stream")?;
        if !stream.is_reset {
            stream.peer_ended = true;
            self.news.push_back(News::End(id));
        }
        Ok(())
    }

    fn apply(&mut self, setting: Setting) -> Result<()> {
        let before = self.theirs.initial_window_size;
        self.theirs.apply(setting)?;
        match setting.id {
            SettingId::HEADER_TABLE_SIZE => self.encoder.set_limit(setting.value),
            SettingId::INITIAL_WINDOW_SIZE => {
                for stream in self.streams.values_mut() {
                    stream.send.change_initial(before, setting.value)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A stream is open.
    pub(super) fn open(&mut self, id: StreamId) {
        let stream = Stream {
            send: StreamWindow::new(self.theirs.initial_window_size),
            receive: StreamWindow::new(self.granted()),
            owed: 0,
            has_ended: false,
            peer_ended: false,
            is_reset: false,
        };
        self.streams.insert(id, stream);
        self.highest = self.highest.max(id);
    }

    /// Sends a header block.
    pub(super) fn head(&mut self, id: StreamId, end: bool, fields: &Fields) {
        let mut block = Vec::new();
        self.encoder.begin(&mut block);
        fields.iter().for_each(|field: Field<'_>| self.encoder.field(&mut block, field));
        let opening = Opening::Headers { end_stream: end, priority: None };
        let size = self.theirs.max_frame_size;
        self.write(|out| encode::block(out, &BlockHead { stream: id, opening }, &block, size));
        self.ended(id, end);
    }

    /// Sends content, as much of it as the windows allow, and maybe padding. Returns how much.
    pub(super) fn data(
        &mut self,
        id: StreamId,
        content: &[u8],
        is_all: bool,
        random: &mut Random,
    ) -> Result<usize> {
        let stream = self.streams.get_mut(&id).context("no stream")?;
        let room = self.send.available().min(stream.send.available());
        let room = room.min(self.theirs.max_frame_size.bytes()) as usize;
        let padding = if random.below(4) == 0 { random.below(200) } else { 0 };
        let around = if padding > 0 { padding + 1 } else { 0 };
        let n = content.len().min(room.saturating_sub(around));
        if n == 0 && !content.is_empty() || around > room {
            return Ok(0);
        }
        let end = is_all && n == content.len();
        let flags = Flags::default().with(Flags::END_STREAM, end);
        let flags = flags.with(Flags::PADDED, padding > 0);
        let header = FrameHeader::new(Kind::Data, id, n + around).with(flags);
        stream.send.consume((n + around) as u32)?;
        self.send.consume((n + around) as u32)?;
        self.out.extend(header.to_bytes());
        if padding > 0 {
            self.out.push_back(padding as u8);
        }
        self.out.extend(&content[..n]);
        self.out.extend(std::iter::repeat_n(0, padding));
        self.ended(id, end);
        Ok(n)
    }

    fn ended(&mut self, id: StreamId, end: bool) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.has_ended |= end;
        }
    }

    /// Resets a stream.
    pub(super) fn reset(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.is_reset) {
            stream.is_reset = true;
            self.write(|out| encode::rst_stream(out, id, ErrorCode::CANCEL));
        }
    }

    /// Gives back what was received: all of it, or a part.
    pub(super) fn give_back(&mut self, random: &mut Random) -> Result<()> {
        let part = |owed: u32, random: &mut Random| match random.below(3) {
            0 => random.below(owed as usize + 1) as u32,
            _ => owed,
        };
        let bytes = part(self.owed, random);
        if let Some(more) = Increment::new(bytes) {
            self.owed -= bytes;
            self.receive.add(more)?;
            self.write(|out| encode::connection_window(out, more));
        }
        let mut frames = Vec::new();
        for (id, stream) in &mut self.streams {
            let bytes = part(stream.owed, random);
            // A stream that has ended needs no window.
            if stream.is_reset || stream.peer_ended {
                continue;
            }
            if let Some(more) = Increment::new(bytes) {
                stream.owed -= bytes;
                stream.receive.add(more)?;
                encode::stream_window(&mut frames, *id, more);
            }
        }
        self.out.extend(frames);
        Ok(())
    }

    /// Widens the window of the connection, once in a while.
    pub(super) fn widen(&mut self, random: &mut Random) -> Result<()> {
        if self.receive.available() < MAX_WINDOW / 2
            && let Some(more) = Increment::new(1 + random.below(50_000) as u32)
        {
            self.receive.add(more)?;
            self.write(|out| encode::connection_window(out, more));
        }
        Ok(())
    }

    /// Sends a PING.
    pub(super) fn ping(&mut self, random: &mut Random) {
        let opaque = (random.below(usize::MAX >> 11) as u64).to_be_bytes();
        self.pings.push_back(opaque);
        self.write(|out| encode::ping(out, opaque));
    }

    /// Whether all PINGs and SETTINGS are answered.
    pub(super) fn is_answered(&self) -> bool {
        self.pings.is_empty() && self.ours.unacknowledged() == 0
    }
}
