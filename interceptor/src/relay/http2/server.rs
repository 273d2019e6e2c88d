//! The connection to a target, or a second one to the app, for diverted streams.
//!
//! The relay is the client here. The server gets the client's own values for windows, frames and
//! header lists, and no push. Its streams have numbers of their own. `receive.rs` follows what it
//! sends.

mod granted;
mod receive;
mod state;

use std::{
    collections::HashMap,
    future::Future,
    sync::Arc,
    task::{Context, Poll},
};

use interceptor_wire::http2::{
    BlockHead, ConnectionWindow, ErrorCode, Framer, INITIAL_CONNECTION_WINDOW, Increment,
    Negotiated, Opening, PREFACE, Sender, Setting, SettingId, Settings, StreamId, StreamWindow,
    encode,
    hpack::{Decoder, Encoder, MAX_FIELD},
};
use tokio::time::{Instant, sleep};

pub(super) use self::state::Server;
use self::{
    granted::Granted,
    state::{Broken, Link, WINDOW},
};
use super::{
    limits::{MAX_WAITING, MAX_WHOLE},
    stream::{Diverted, ServerKey, Up},
    streams::Streams,
};
use crate::relay::{
    dial::Ack,
    direction::Direction,
    observe::{Counters, Observer as _},
    route::Route,
    stats::{FellBack, Outcome},
    stolen::Stolen,
    stream::{Chunk, SCRATCH, Stream},
    write_buffer::WriteBuffer,
};

/// Maximum size in bytes of the table for blocks to a server.
const TABLE: u32 = 4096;

/// What a poll of a server showed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Polled {
    /// Nothing new.
    Idle,
    /// Something moved.
    Moved,
    /// It can't be reached, and has got no stream.
    Unreachable(Outcome),
    /// The connection is over. Its streams are lost.
    Ended,
}

// === impl Server ===

impl<'a> Server<'a> {
    /// Dials the target of `route`, or the app.
    pub(super) fn dial(key: ServerKey, route: Option<Arc<Route>>, stolen: &'a Stolen) -> Self {
        let dialled = route.clone();
        let dial = async move {
            match dialled {
                Some(route) => stolen.dial(&route, Ack::Delayed).await.map_err(Outcome::from),
                None => stolen.dial_app(Ack::Delayed).await.map_err(Outcome::from),
            }
        };
        Self {
            key,
            route,
            stolen,
            link: Link::Dialling(Box::pin(dial)),
            framer: Framer::new(Sender::Server, MAX_WHOLE),
            unread: Vec::new(),
            decoder: Decoder::new(MAX_FIELD),
            block: None,
            content_of: None,
            out: WriteBuffer::default(),
            encoder: Encoder::new(TABLE),
            settings: Settings::default(),
            granted: Granted::new(Settings::default().initial_window_size),
            window: ConnectionWindow::new(),
            streams: HashMap::new(),
            next: 1,
            is_leaving: false,
            taken: 0,
            waiting: 0,
            is_finished: false,
        }
    }

    /// Whether another stream may be sent to it.
    pub(super) fn takes_streams(&self) -> bool {
        let is_withdrawn = self.route.as_ref().is_some_and(|route| route.is_withdrawn());
        !self.is_leaving && !is_withdrawn && self.next < StreamId::MAX.number()
    }

    /// Whether it has sent GOAWAY.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Whether it serves nothing and is to get nothing.
    pub(super) fn is_useless(&self) -> bool {
        self.streams.is_empty() && !self.takes_streams()
    }

    pub(super) fn observer(&self) -> Counters<'_> {
        match &self.route {
            Some(route) => self.stolen.observe_target(route),
            None => self.stolen.observe_app(),
        }
    }

    /// Makes the close that follows a reset.
    pub(super) fn reset_on_close(&self) {
        if let Link::Greeting(upstream, _) | Link::Open(upstream) = &self.link {
            upstream.stream.reset_on_close();
        }
    }

    /// Moves bytes of the connection. `client` are the client's settings.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &Negotiated,
        streams: &mut Streams,
    ) -> Polled {
        let was_dialling = matches!(self.link, Link::Dialling(_));
        if let Link::Dialling(dial) = &mut self.link {
            match dial.as_mut().poll(cx) {
                Poll::Pending => return Polled::Idle,
                Poll::Ready(Err(outcome)) => return Polled::Unreachable(outcome),
                Poll::Ready(Ok(upstream)) => {
                    self.greet(client.in_force());
                    let patience = Box::pin(sleep(self.stolen.workload.connect_timeout));
                    self.link = Link::Greeting(upstream, patience);
                }
            }
        }
        if let Link::Greeting(_, patience) = &mut self.link
            && patience.as_mut().poll(cx).is_ready()
        {
            return Polled::Unreachable(Outcome::FellBack(FellBack::TargetTimeout));
        }
        match self.poll_bytes(cx, streams) {
            Ok(false) if was_dialling => Polled::Moved,
            Ok(false) => Polled::Idle,
            Ok(true) => Polled::Moved,
            Err(()) if matches!(self.link, Link::Open(_)) => Polled::Ended,
            Err(()) => Polled::Unreachable(Outcome::FellBack(FellBack::ConnectFailed)),
        }
    }

    /// Sends the opening of a client.
    fn greet(&mut self, client: &Settings) {
        let mut first = match &self.route {
            Some(route) => self.stolen.preface(route),
            None => Vec::new(),
        };
        first.extend_from_slice(PREFACE);
        let setting = |id, value| Setting { id, value };
        let mut settings = vec![
            setting(SettingId::ENABLE_PUSH, 0),
            setting(SettingId::INITIAL_WINDOW_SIZE, client.initial_window_size),
            setting(SettingId::MAX_FRAME_SIZE, client.max_frame_size.bytes()),
        ];
        if let Some(size) = client.max_header_list_size {
            settings.push(setting(SettingId::MAX_HEADER_LIST_SIZE, size));
        }
        encode::settings(&mut first, settings);
        self.granted.announce(client.initial_window_size);
        if let Some(more) = Increment::new(WINDOW - INITIAL_CONNECTION_WINDOW) {
            encode::connection_window(&mut first, more);
        }
        self.out.push(&first);
    }

    /// Tells the server that the client has changed the initial window of streams.
    pub(super) fn set_initial_window(&mut self, size: u32, streams: &mut Streams) {
        if matches!(self.link, Link::Dialling(_)) {
            // The opening will say so.
            return;
        }
        let before = self.granted.largest();
        self.granted.announce(size);
        self.regrant(before, streams);
        let setting = Setting { id: SettingId::INITIAL_WINDOW_SIZE, value: size };
        self.write(|out| encode::settings(out, [setting]));
    }

    /// Lets the windows of all streams follow what the server was told.
    fn regrant(&mut self, before: u32, streams: &mut Streams) {
        let after = self.granted.largest();
        if before == after {
            return;
        }
        for id in self.streams.values() {
            if let Some(stream) = streams.get_mut(*id) {
                // The client's window meets the same overflow.
                let _ = stream.granted.change_initial(before, after);
            }
        }
    }

    fn write(&mut self, frame: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        frame(&mut bytes);
        self.out.push(&bytes);
    }

    /// Sends what waits of a stream, as far as the server takes it. Returns how many bytes of
    /// content it took, and whether anything moved.
    pub(super) fn send(&mut self, id: StreamId, stream: &mut Diverted) -> (u32, bool) {
        let (mut taken, mut moved) = (0, false);
        if !matches!(self.link, Link::Open(_)) {
            return (taken, moved);
        }
        while self.out.size() < MAX_WAITING {
            if let Some(Up::Data { bytes, .. }) = stream.up.front()
                && !stream.is_worth_sending_up(bytes.len())
            {
                break;
            }
            let Some(item) = stream.up.front_mut() else { break };
            match item {
                Up::Block { fields, end } => {
                    let theirs = match stream.theirs {
                        Some(theirs) => theirs,
                        None if self.is_leaving => break,
                        None if self.is_full() => {
                            stream.waits_since.get_or_insert_with(Instant::now);
                            break;
                        }
                        None => self.open(
                            id,
                            &mut stream.theirs,
                            (&mut stream.server_window, &mut stream.granted),
                        ),
                    };
                    let block = self.encoder.block(fields);
                    // A priority names streams by the client's numbers.
                    let opening = Opening::Headers { end_stream: *end, priority: None };
                    let head = BlockHead { stream: theirs, opening };
                    let size = self.settings.max_frame_size;
                    self.write(|out| encode::block(out, &head, &block, size));
                    stream.up.pop_front();
                    if let Some(credit) = Increment::new(std::mem::take(&mut stream.credit)) {
                        let _ = stream.granted.add(credit);
                        self.write(|out| encode::stream_window(out, theirs, credit));
                    }
                }
                Up::Data { bytes, end } => {
                    let Some(theirs) = stream.theirs else { break };
                    let room = self.window.available().min(stream.server_window.available());
                    let most = room.min(self.settings.max_frame_size.bytes()) as usize;
                    let n = bytes.len().min(most);
                    let is_last = n == bytes.len();
                    if n == 0 && !bytes.is_empty() {
                        break;
                    }
                    let content: Vec<u8> = bytes.drain(..n).collect();
                    let ends = *end && is_last;
                    // Both fit: that is how much there is room for.
                    let _ = self.window.consume(n as u32);
                    let _ = stream.server_window.consume(n as u32);
                    let size = self.settings.max_frame_size;
                    self.write(|out| encode::data(out, theirs, &content, ends, size));
                    self.observer().bytes(Direction::Up, &content);
                    taken += n as u32;
                    if is_last {
                        stream.up.pop_front();
                    }
                }
            }
            moved = true;
        }
        (taken, moved)
    }

    fn is_full(&self) -> bool {
        let max = self.settings.max_concurrent_streams;
        max.is_some_and(|max| self.streams.len() >= max as usize)
    }

    /// Opens a stream for the client's stream `id`.
    fn open(
        &mut self,
        id: StreamId,
        theirs: &mut Option<StreamId>,
        (window, granted): (&mut StreamWindow, &mut StreamWindow),
    ) -> StreamId {
        let number = StreamId::new(self.next).unwrap_or(StreamId::MAX);
        self.next += 2;
        self.streams.insert(number, id);
        *theirs = Some(number);
        *window = StreamWindow::new(self.settings.initial_window_size);
        *granted = StreamWindow::new(self.granted.largest());
        if let Some(route) = &self.route {
            self.stolen.reached(route);
        }
        number
    }

    /// Lets the server send more of a stream.
    pub(super) fn credit(&mut self, stream: &mut Diverted, bytes: u32) {
        if let Some(theirs) = stream.theirs
            && self.streams.contains_key(&theirs)
            && let Some(bytes) = Increment::new(bytes)
        {
            // The client's window meets the same overflow.
            let _ = stream.granted.add(bytes);
            self.write(|out| encode::stream_window(out, theirs, bytes));
        }
    }

    /// Sends FIN when everything before is out.
    pub(super) fn finish(&mut self) {
        if let Link::Open(upstream) = &self.link
            && self.out.is_empty()
            && !self.is_finished
        {
            self.is_finished = true;
            // Fails only if the server is gone, which a read shows.
            let _ = upstream.stream.finish();
        }
    }

    /// The client has got bytes of content, or nobody wants them.
    pub(super) fn content_taken(&mut self, bytes: u32) {
        self.waiting = self.waiting.saturating_sub(bytes);
        self.taken += bytes;
        // A quarter of the window at a time: fewer frames.
        if self.taken >= WINDOW / 4
            && let Some(taken) = Increment::new(std::mem::take(&mut self.taken))
        {
            self.write(|out| encode::connection_window(out, taken));
        }
    }

    /// Ends a stream of the client's, which has gone or reset it.
    pub(super) fn reset(&mut self, stream: &Diverted, code: ErrorCode) {
        self.content_taken(stream.waiting_down() as u32);
        if let Some(theirs) = stream.theirs
            && self.streams.remove(&theirs).is_some()
        {
            self.write(|out| encode::rst_stream(out, theirs, code));
        }
    }

    /// Forgets a stream that is over.
    pub(super) fn forget(&mut self, theirs: Option<StreamId>) {
        theirs.and_then(|theirs| self.streams.remove(&theirs));
    }

    /// Whether something moved. An error: the connection has ended.
    fn poll_bytes(&mut self, cx: &mut Context<'_>, streams: &mut Streams) -> Result<bool, ()> {
        let mut moved = self.flush(cx)?;
        loop {
            let mut bytes = std::mem::take(&mut self.unread);
            let read = {
                let Some(stream) = self.stream() else { return Ok(moved) };
                SCRATCH.with_borrow_mut(|scratch| {
                    let scratch = &mut scratch[..Chunk::default().size()];
                    let read = stream.poll_read(cx, scratch);
                    if let Poll::Ready(Ok(n)) = read {
                        bytes.extend_from_slice(&scratch[..n]);
                    }
                    read
                })
            };
            match read {
                Poll::Pending => {
                    self.unread = bytes;
                    break;
                }
                Poll::Ready(Ok(0) | Err(_)) => return Err(()),
                Poll::Ready(Ok(_)) => {}
            }
            moved = true;
            let covered = match self.on_bytes(&bytes, streams) {
                Ok(covered) => covered,
                Err(Broken(code)) => {
                    self.write(|out| encode::goaway(out, StreamId::CONNECTION, code, b""));
                    let _ = self.flush(cx);
                    return Err(());
                }
            };
            bytes.drain(..covered);
            if !bytes.is_empty() {
                self.unread = bytes;
            }
            moved |= self.flush(cx)?;
        }
        Ok(moved)
    }

    fn stream(&self) -> Option<&Stream> {
        match &self.link {
            Link::Dialling(_) | Link::Closed => None,
            Link::Greeting(upstream, _) | Link::Open(upstream) => Some(&upstream.stream),
        }
    }

    /// Writes what waits. An error: the server takes nothing more, and may still have sent
    /// something, which the next read shows.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<bool, ()> {
        let (Link::Greeting(upstream, _) | Link::Open(upstream)) = &self.link else {
            return Ok(false);
        };
        let was_empty = self.out.is_empty();
        match self.out.poll_flush(cx, &upstream.stream, |_| {}) {
            Poll::Ready(Err(_)) => {
                self.out = WriteBuffer::default();
                Ok(false)
            }
            Poll::Ready(Ok(())) => Ok(!was_empty),
            Poll::Pending => Ok(false),
        }
    }
}
