//! The joint between the client's connection and the app's: reads and writes sockets, and ends
//! both.
//!
//! One future polls everything, so that all of it ends with the connection's task.

use std::{
    future::{Future as _, poll_fn},
    io,
    pin::pin,
    task::{Context, Poll},
};

use interceptor_api::Remaining;
use interceptor_wire::http2::{ErrorCode, StreamId, encode};

use super::{
    absent::{Absent, Said},
    diversion::Diversion,
    down::{Down, End},
    farewell::Farewell,
    limits::MAX_WAITING,
    link::Link,
    open::Open,
    stop::Stop,
    switch::Switched,
    up::{Up, World},
};
use crate::relay::{
    farewell::Phase,
    pipe::Before,
    received::Received,
    stats::{Outcome, Piped},
    stolen::Stolen,
    stream::{Chunk, SCRATCH, Stream},
    write_buffer::WriteBuffer,
};

/// Maximum number of turns before other connections of the thread get theirs.
const TURNS: usize = 16;

/// How it ended.
pub(super) enum Ending {
    /// In order. Everything was written.
    Closed,
    /// In order, because the daemon ends. The app does not know yet.
    Left,
    /// The client's connection failed. These bytes are for the app.
    ClientFailed(Vec<u8>),
    /// The app's connection failed.
    AppFailed,
    /// The app can't be reached, and the client wants something of it.
    Refused,
    /// The rest is a pipe between the client and the app.
    Pipe(Option<Piped>, Before),
}

/// What is at the other end.
enum App<'a> {
    Open(&'a Stream),
    Absent(Absent),
}

/// Why there are no more turns.
enum Halt {
    Ended(Ending),
    /// Frames can't be followed any more.
    Stopped(Stop),
}

/// The joint.
pub(super) struct Joint<'a> {
    stolen: &'a Stolen,
    app: App<'a>,
    up: Up,
    down: Down,
    /// Made when the first stream is diverted.
    diversion: Option<Box<Diversion<'a>>>,
    open: Open,
    chunks: [Chunk; 2],
    /// A write to the app met a reset. A read looks like a FIN then.
    app_was_reset: bool,
    /// FIN was sent to the app.
    is_finished: bool,
}

// === impl Halt ===

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

// === impl Joint ===

impl<'a> Joint<'a> {
    /// `received` was read from the client.
    pub(super) fn new(stolen: &'a Stolen, app: &'a Stream, received: Received) -> Self {
        let given = received.given();
        let mut joint = Self::with(stolen, App::Open(app), received.into_all());
        joint.up.given = given;
        joint
    }

    /// A joint without an app. `why` is what its dial said.
    pub(super) fn without_app(stolen: &'a Stolen, why: Outcome, received: Vec<u8>) -> Self {
        Self::with(stolen, App::Absent(Absent::new(why)), received)
    }

    fn with(stolen: &'a Stolen, app: App<'a>, received: Vec<u8>) -> Self {
        let mut up = Up::new();
        up.unread = received;
        Self {
            stolen,
            app,
            up,
            down: Down::new(),
            diversion: None,
            open: Open::default(),
            chunks: Default::default(),
            app_was_reset: false,
            is_finished: false,
        }
    }

    /// A joint that begins behind the app's response 101.
    pub(super) fn switched(stolen: &'a Stolen, app: &'a Stream, switched: Switched) -> Self {
        let Switched { offer, clock, to_app, from_client, to_client, from_app } = switched;
        let mut joint = Self::new(stolen, app, Received::new(from_client));
        joint.up.begin_with(StreamId::FIRST);
        joint.up.way_to_app().out = to_app.into();
        joint.open.add(StreamId::FIRST, clock);
        if let Some((client, change)) = offer.negotiated() {
            joint.down.begin_with(client, &change);
        }
        joint.down.out = to_client.into();
        joint.down.is_cut = !from_app.is_empty();
        joint.down.unread = from_app;
        joint
    }

    /// Passes frames until the end.
    pub(super) async fn run(mut self) -> Ending {
        let received = std::mem::take(&mut self.up.unread);
        let ending = poll_fn(|cx| Poll::Ready(self.on_client_bytes(cx, &received).err())).await;
        let ending = match ending {
            Some(stop) => self.stop(stop).await,
            None => self.turns().await,
        };
        if matches!(ending, Ending::ClientFailed(_) | Ending::AppFailed)
            && let Some(diversion) = &self.diversion
        {
            diversion.reset_servers();
        }
        ending
    }

    async fn turns(&mut self) -> Ending {
        let client: &'a Stream = &self.stolen.client;
        let mut client_failed = pin!(client.failed());
        let halted = poll_fn(|cx| {
            if let Poll::Ready(halt) = self.poll(cx) {
                return Poll::Ready(halt);
            }
            // While the client is not read, no failed read shows that it has gone.
            if !self.reads_client() && client_failed.as_mut().poll(cx).is_ready() {
                // A pipe lets the app have what came before.
                let is_pipe = self.diversion.is_none();
                let ending = if is_pipe { self.pipe(None) } else { self.client_failed() };
                return Poll::Ready(Halt::Ended(ending));
            }
            Poll::Pending
        });
        match halted.await {
            Halt::Ended(ending) => ending,
            Halt::Stopped(stop) => self.stop(stop).await,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Halt> {
        for _ in 0..TURNS {
            match self.turn(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(halt) => return Poll::Ready(halt),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Moves what can move. Whether anything did.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, Halt> {
        let mut moved = false;
        match self.down.out.poll_flush(cx, &self.stolen.client, |_| {}) {
            Poll::Ready(Ok(())) | Poll::Pending => {}
            Poll::Ready(Err(_)) => return Err(Halt::Ended(self.client_failed())),
        }
        self.flush_app(cx)?;
        moved |= self.read_app(cx)?;
        moved |= self.read_client(cx)?;
        if let Some(diversion) = &mut self.diversion {
            moved |= diversion.poll(cx, self.up.way_to_app(), &mut self.down, &mut self.open);
            if self.up.is_over {
                diversion.finish_servers();
            }
        }
        moved |= self.take_leave()?;
        moved |= self.down.release();
        self.end()?;
        Ok(moved)
    }

    /// Sends what waits for the app, then the client's FIN.
    fn flush_app(&mut self, cx: &mut Context<'_>) -> Result<(), Halt> {
        let out = &mut self.up.way_to_app().out;
        let is_flushed = match &mut self.app {
            App::Open(app) => match out.poll_flush(cx, app, |_| {}) {
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
                // A read shows how the app ended.
                Poll::Ready(Err(error)) => {
                    *out = WriteBuffer::default();
                    self.app_was_reset |= error.kind() == io::ErrorKind::ConnectionReset;
                    false
                }
            },
            App::Absent(absent) => {
                absent.on_bytes(&std::mem::take(out).into_rest());
                if absent.has_refused() {
                    self.stolen.record.record_all(absent.outcome);
                    if !self.down.has_settings {
                        return Err(Halt::Ended(Ending::Refused));
                    }
                }
                true
            }
        };
        if is_flushed && self.up.is_over && !self.is_finished {
            self.is_finished = true;
            match &mut self.app {
                // Fails only if the app is gone, which a read shows.
                App::Open(app) => drop(app.finish()),
                App::Absent(absent) => absent.finish(),
            }
        }
        Ok(())
    }

    /// The socket that the client's frames go to.
    fn app_socket(&self) -> Option<&'a Stream> {
        match &self.app {
            App::Open(app) => Some(app),
            App::Absent(_) => None,
        }
    }

    fn reads_client(&mut self) -> bool {
        let is_waiting = self.up.waiting.is_some();
        !self.up.is_over && !is_waiting && self.up.way_to_app().out.size() < MAX_WAITING
    }

    fn reads_app(&self) -> bool {
        self.down.end.is_none() && self.down.out.size() < MAX_WAITING
    }

    fn read_client(&mut self, cx: &mut Context<'_>) -> Result<bool, Halt> {
        if !self.reads_client() {
            return Ok(false);
        }
        let (client, mut chunk): (&'a Stream, _) = (&self.stolen.client, self.chunks[0]);
        let read = read(cx, client, &mut chunk, |cx, bytes| {
            if self.up.unread.is_empty() {
                return self.on_client_bytes(cx, bytes);
            }
            let mut all = std::mem::take(&mut self.up.unread);
            all.extend_from_slice(bytes);
            self.on_client_bytes(cx, &all)
        });
        self.chunks[0] = chunk;
        match read {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(Some(Ok(())))) => Ok(true),
            Poll::Ready(Ok(Some(Err(stop)))) => Err(stop.into()),
            // A pipe meets the end again.
            Poll::Ready(Ok(None)) if self.diversion.is_none() => Err(Halt::Ended(self.pipe(None))),
            Poll::Ready(Ok(None)) => {
                self.up.is_over = true;
                if let Some(diversion) = &mut self.diversion {
                    diversion.cancel_parts();
                }
                let rest = std::mem::take(&mut self.up.unread);
                // The client has ended inside a frame: so does the app's connection.
                self.up.way_to_app().out.push(&rest);
                Ok(true)
            }
            Poll::Ready(Err(_)) => Err(Halt::Ended(self.client_failed())),
        }
    }

    fn read_app(&mut self, cx: &mut Context<'_>) -> Result<bool, Halt> {
        if !self.reads_app() {
            return Ok(false);
        }
        if self.down.is_cut {
            let bytes = std::mem::take(&mut self.down.unread);
            self.on_app_bytes(cx, &bytes)?;
            return self.go_on(cx).map(|()| true);
        }
        let app = match &mut self.app {
            App::Open(app) => *app,
            App::Absent(absent) => {
                match absent.next() {
                    Said::Nothing => return Ok(false),
                    Said::Frames(frames) => self.on_app_bytes(cx, &frames)?,
                    Said::End => self.app_ended(End::Closed),
                }
                return self.go_on(cx).map(|()| true);
            }
        };
        let mut chunk = self.chunks[1];
        let read = read(cx, app, &mut chunk, |cx, bytes| {
            if self.down.unread.is_empty() {
                return self.on_app_bytes(cx, bytes);
            }
            let mut all = std::mem::take(&mut self.down.unread);
            all.extend_from_slice(bytes);
            self.on_app_bytes(cx, &all)
        });
        self.chunks[1] = chunk;
        match read {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(Some(Ok(())))) => self.go_on(cx).map(|()| true),
            Poll::Ready(Ok(Some(Err(stop)))) => Err(stop.into()),
            Poll::Ready(Ok(None)) if self.diversion.is_none() => Err(Halt::Ended(self.pipe(None))),
            Poll::Ready(Ok(None)) => {
                let end = if self.app_was_reset { End::Failed } else { End::Closed };
                self.app_ended(end);
                Ok(true)
            }
            Poll::Ready(Err(_)) => {
                self.app_ended(End::Failed);
                Ok(true)
            }
        }
    }

    fn on_client_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Stop> {
        let sink = self.app_socket();
        let mut link = Link { cx, sink, stolen: self.stolen, was_reset: false };
        let mut world =
            World { down: &mut self.down, diversion: &mut self.diversion, open: &mut self.open };
        // A failure to write is one that a read of the app shows.
        let (covered, followed) = self.up.on_bytes(bytes, &mut link, &mut world);
        self.app_was_reset |= link.was_reset;
        self.up.unread = bytes[covered..].to_vec();
        followed
    }

    fn on_app_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Stop> {
        let client: &'a Stream = &self.stolen.client;
        let mut link = Link { cx, sink: Some(client), stolen: self.stolen, was_reset: false };
        self.down.diverted = self.diversion.as_ref().map(|diversion| diversion.highest());
        let (covered, followed) = self.down.on_bytes(bytes, &mut link, &mut self.open);
        self.down.unread = bytes[covered..].to_vec();
        followed
    }

    /// Diverts a request that waited for the app's SETTINGS, and reads what is behind it.
    fn go_on(&mut self, cx: &mut Context<'_>) -> Result<(), Halt> {
        if self.up.waiting.is_none() || !self.down.has_settings {
            return Ok(());
        }
        {
            let sink = self.app_socket();
            let link = Link { cx, sink, stolen: self.stolen, was_reset: false };
            let mut world = World {
                down: &mut self.down,
                diversion: &mut self.diversion,
                open: &mut self.open,
            };
            self.up.go_on(&link, &mut world);
        }
        let bytes = std::mem::take(&mut self.up.unread);
        Ok(self.on_client_bytes(cx, &bytes)?)
    }

    /// The app has ended its connection. Streams of targets go on, unless the client has got a part
    /// of a frame.
    fn app_ended(&mut self, end: End) {
        let rest = std::mem::take(&mut self.down.unread);
        if let Some(diversion) = &mut self.diversion
            && self.down.is_inside_frame()
        {
            diversion.reset_servers();
            diversion.streams.clear();
            self.down.drop_inserted();
        }
        if !self.has_diverted() {
            self.down.out.push(&rest);
        }
        self.down.end = Some(end);
        self.dismiss();
    }

    /// The client is gone. The app gets what came before.
    fn client_failed(&mut self) -> Ending {
        Ending::ClientFailed(std::mem::take(&mut self.up.way_to_app().out).into_rest())
    }

    /// Tells the client that the app is gone, if streams of a target go on.
    fn dismiss(&mut self) {
        if !self.has_diverted() {
            return;
        }
        self.down.drop_held_part();
        for id in self.open.above(StreamId::CONNECTION) {
            self.down.reset_lost(id);
        }
        self.down.go_away(self.up.highest(), ErrorCode::NO_ERROR, b"");
        self.open = Open::default();
    }

    fn has_diverted(&self) -> bool {
        self.diversion.as_ref().is_some_and(|diversion| !diversion.streams.is_empty())
    }

    /// Ends the connection when the app has, and everything has passed.
    fn end(&mut self) -> Result<(), Halt> {
        let Some(end) = self.down.end else { return Ok(()) };
        if self.has_diverted() || !self.down.is_empty() {
            return Ok(());
        }
        Err(Halt::Ended(match end {
            End::Closed => Ending::Closed,
            End::Failed => Ending::AppFailed,
        }))
    }

    /// Lets the connection end while the daemon does. Whether anything happened.
    fn take_leave(&mut self) -> Result<bool, Halt> {
        let phase = self.stolen.record.phase();
        // An app that ends or says that it does is followed.
        if phase == Phase::Serving || self.up.is_over || self.down.end.is_some() {
            return Ok(false);
        }
        self.stolen.record.remains(Remaining::Stream);
        let is_idle = self.open.is_empty()
            && !self.has_diverted()
            && self.up.waiting.is_none()
            && self.up.way_to_app().out.is_empty();
        let down = &mut self.down;
        match down.farewell {
            Farewell::None if down.is_leaving || !down.has_settings => return Ok(false),
            Farewell::None if is_idle || phase >= Phase::Closing => {
                down.farewell = Farewell::asked();
                if let Farewell::Asked { ping } = down.farewell {
                    down.go_away(StreamId::MAX, ErrorCode::NO_ERROR, b"");
                    down.insert(|out| encode::ping(out, ping));
                }
            }
            Farewell::Known => {
                let last = self.up.highest();
                down.farewell = Farewell::Told { last };
                down.go_away(last, ErrorCode::NO_ERROR, b"");
            }
            Farewell::Told { .. } if is_idle && down.is_empty() => {
                return Err(Halt::Ended(Ending::Left));
            }
            Farewell::None | Farewell::Asked { .. } | Farewell::Told { .. } => return Ok(false),
        }
        Ok(true)
    }

    /// Leaves the rest to a pipe.
    fn pipe(&mut self, why: Option<Piped>) -> Ending {
        let mut up = std::mem::take(&mut self.up.way_to_app().out).into_rest();
        up.append(&mut self.up.kept());
        up.append(&mut self.up.unread);
        let mut down = std::mem::take(&mut self.down.out).into_rest();
        down.append(&mut self.down.unread);
        Ending::Pipe(why, Before { up, down, upstream_was_reset: self.app_was_reset })
    }

    /// Ends what can't be followed: as a pipe if no stream was diverted, else by GOAWAY.
    async fn stop(&mut self, Stop { code, why }: Stop) -> Ending {
        if self.diversion.is_none() {
            return self.pipe(Some(why));
        }
        self.stolen.record.pipe(why);
        if let Some(diversion) = &self.diversion {
            diversion.reset_servers();
        }
        self.down.go_away(self.up.highest(), code, b"");
        self.down.release();
        let rest = std::mem::take(&mut self.down.out).into_rest();
        // A client that does not read is not waited for.
        self.stolen.client.send_rest(&rest).await;
        Ending::Closed
    }
}

/// Reads once, and shows the bytes to `look`. `None`: FIN.
fn read<T>(
    cx: &mut Context<'_>,
    stream: &Stream,
    chunk: &mut Chunk,
    look: impl FnOnce(&mut Context<'_>, &[u8]) -> T,
) -> Poll<io::Result<Option<T>>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let scratch = &mut scratch[..chunk.size()];
        let n = std::task::ready!(stream.poll_read(cx, scratch))?;
        chunk.adapt(n);
        Poll::Ready(Ok((n > 0).then(|| look(cx, &scratch[..n]))))
    })
}
