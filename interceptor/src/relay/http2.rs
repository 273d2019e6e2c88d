//! HTTP/2 with prior knowledge, and so gRPC, on a connection whose streams have different owners.
//!
//! ```text
//! caller --- h2 server --- exchange.rs, one for each stream --- h2 client --- application
//!                                                          \--- h2 client --- target, opened
//!                                                                with its first stream
//! ```
//!
//! Frames are read and written anew by the crate `h2`, one connection at a time: HPACK, PING,
//! connection windows and the order of frames are each connection's own. What a stream carries
//! passes from end to end: heads, data, trailers, 1xx, END_STREAM, the codes of RST_STREAM, and the
//! windows of streams, so that a reader who is slow slows his writer and nobody else.
//!
//! # Whether it is HTTP/2
//!
//! The caller's preface and SETTINGS go to the application as they are, and its answer decides. If
//! that is no SETTINGS frame, or does not come for some seconds, or if the caller's first frame is
//! none, the connection is a plain pipe to the application, which has seen and sees what it would
//! have seen without us.
//!
//! # What is promised to whom
//!
//! The application has the caller's own SETTINGS. The caller has the application's
//! MAX_CONCURRENT_STREAMS (at most 1,024), INITIAL_WINDOW_SIZE (at most 4 MiB), MAX_FRAME_SIZE,
//! MAX_HEADER_LIST_SIZE (at most 1 MiB), HEADER_TABLE_SIZE (at most 64 KiB) and
//! ENABLE_CONNECT_PROTOCOL as they are when the connection begins. What the crate can't pass on:
//! other settings, and changes while the connection is open (they hold between us and who sent
//! them: streams wait in line); PRIORITY; PUSH_PROMISE (each is refused, as a client may do at any
//! time); the scheme of a request without `:authority`, which becomes `http`; the debug data of
//! GOAWAY; which fields are never to be indexed (RFC 7541, section 6.2.3): `authorization` and
//! `proxy-authorization` always are not; and the patience of some servers with streams that are too
//! many but were opened before the caller could know it, which are refused.
//!
//! # How it ends
//!
//! A stream whose server is lost is reset with INTERNAL_ERROR, or with REFUSED_STREAM if nothing of
//! it was sent or the server says that it has looked at nothing of it. The loss of a target ends no
//! other streams. After the application's GOAWAY, or its end while a target has streams, the caller
//! is told to open no more (GOAWAY); those that he opens before he hears of it go to the
//! application by another connection. His connection ends when all of them are through; if he has
//! none, and does not say that he has heard it, after some seconds. If the application has not
//! asked for that, and no target has streams when its connection ends, the caller's ends in the
//! same way, by FIN or by reset.
//!
//! # Limits
//!
//! Those of `h2` hold towards each side by itself: streams that are reset before they are accepted
//! (20, then GOAWAY with ENHANCE_YOUR_CALM), streams that are remembered after a reset (50, for a
//! second), streams that are reset for their own errors (1,024), CONTINUATION frames (as many as
//! the header list may need), SETTINGS and PING (none is read before the one before it is
//! acknowledged), empty and small DATA frames. A caller who resets streams as fast as he opens them
//! has them reset at the application, whose limits he meets then.

mod exchange;
mod io;
mod line;
mod session;
mod settings;
mod window;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use interceptor_wire::{Reason, opening::HTTP2_PREFACE as PREFACE};
use tokio::time::{Instant, sleep_until};

use self::{
    io::Io,
    line::End,
    session::{Caller, Ended},
    settings::{FirstFrame, Settings},
    window::Window,
};
use crate::relay::{pipe::Before, stats::Piped, stolen::Stolen, upstream::Upstream};

/// An application that has the opening of an HTTP/2 client and has not answered by then waits for
/// something else.
const PATIENCE: Duration = Duration::from_secs(3);
/// As much is read of a caller before the application has answered, in bytes.
const MAX_WAITING: usize = 64 << 10;

/// Whether bytes that a server has said unasked are the beginning of HTTP/2.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    !matches!(FirstFrame::read(bytes), FirstFrame::Other)
}

/// Serves a connection on which the caller speaks HTTP/2; `said` is what he has said.
pub(super) async fn serve(stolen: &Stolen, app: &Upstream, said: Vec<u8>) {
    let mut opening = Opening { said, sent: 0, heard: Vec::new() };
    let settings = opening.exchange(stolen, app).await;
    let Opening { said, sent, heard } = opening;
    match settings {
        Ok(settings) => relay(stolen, app, settings, said, heard).await,
        Err(why) => {
            why.iter().for_each(|&why| stolen.record.pipe(why));
            let before = Before { up: said[sent..].to_vec(), down: heard, ..Before::default() };
            stolen.pass_on(app, before).await;
        }
    }
}

/// What was said before it is known that both sides speak HTTP/2.
struct Opening {
    /// By the caller.
    said: Vec<u8>,
    /// How much of it the application has been sent.
    sent: usize,
    /// By the application.
    heard: Vec<u8>,
}

// === impl Opening ===

impl Opening {
    /// Gives what the caller and the application announce, or why they are left to themselves.
    async fn exchange(
        &mut self,
        stolen: &Stolen,
        app: &Upstream,
    ) -> Result<[Settings; 2], Option<Piped>> {
        let callers = loop {
            match FirstFrame::read(&self.said[PREFACE.len()..]) {
                FirstFrame::Settings(settings, length) => {
                    let opening = &self.said[..PREFACE.len() + length];
                    // A pipe meets the same failure.
                    app.stream.write_all(opening).await.map_err(|_| None)?;
                    self.sent = opening.len();
                    break settings;
                }
                FirstFrame::Partial => self.read_caller(stolen).await?,
                FirstFrame::Other => return Err(Some(Piped::Request(Reason::NotHttp))),
            }
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match FirstFrame::read(&self.heard) {
                FirstFrame::Settings(settings, _) => return Ok([callers, settings]),
                FirstFrame::Other => return Err(Some(Piped::Response(Reason::NotHttp))),
                FirstFrame::Partial => {}
            }
            let is_waiting = self.said.len() < MAX_WAITING;
            tokio::select! {
                biased;
                read = app.stream.read_more(&mut self.heard) => match read {
                    Ok(0) | Err(_) => return Err(None),
                    Ok(_) => {}
                },
                read = stolen.client.read_more(&mut self.said), if is_waiting => match read {
                    Ok(0) | Err(_) => return Err(None),
                    Ok(_) => {}
                },
                () = sleep_until(deadline) => return Err(Some(Piped::Response(Reason::NotHttp))),
            }
        }
    }

    async fn read_caller(&mut self, stolen: &Stolen) -> Result<(), Option<Piped>> {
        match stolen.client.read_more(&mut self.said).await {
            // A pipe meets the end, or the failure, by itself.
            Ok(0) | Err(_) => Err(None),
            Ok(_) => Ok(()),
        }
    }
}

/// Relays streams until the end, and makes it the one that each side would have seen without us.
async fn relay(
    stolen: &Stolen,
    app: &Upstream,
    [callers, apps]: [Settings; 2],
    said: Vec<u8>,
    heard: Vec<u8>,
) {
    let (reset_caller, reset_servers) = (AtomicBool::new(false), AtomicBool::new(false));
    let _ends = [
        End { stream: &stolen.client, reset: &reset_caller },
        End { stream: &app.stream, reset: &reset_servers },
    ];
    let ended = run(stolen, app, [callers, apps], said, heard, &reset_servers).await;
    match ended {
        Ended::InOrder | Ended::AppClosed => stolen.client.linger().await,
        Ended::CallerBroke => {}
        Ended::AppBroke => {
            // What the application said before is in the send queue, which a reset would throw
            // away.
            stolen.client.drained().await;
            reset_caller.store(true, Ordering::Relaxed);
        }
    }
}

async fn run(
    stolen: &Stolen,
    app: &Upstream,
    [callers, apps]: [Settings; 2],
    said: Vec<u8>,
    heard: Vec<u8>,
    reset_servers: &AtomicBool,
) -> Ended {
    let io = Io::new(&*stolen.client, said);
    let outlet = io.outlet();
    // Its own failures are those of the streams, and of the connections when they are polled.
    let Ok(app) = line::open(&*app.stream, heard, &callers).await else { return Ended::AppBroke };
    let Ok(connection) = apps.server().handshake(io).await else { return Ended::CallerBroke };
    let window = Window::new(apps.server_stream_window());
    let caller = Caller { connection, outlet, window, settings: callers };
    session::serve(stolen, caller, app, reset_servers).await
}
