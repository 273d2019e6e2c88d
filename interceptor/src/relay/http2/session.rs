//! All streams of a caller, and the connections on which they run.
//!
//! One future polls everything, so that all of it ends with the connection's task. Connections are
//! polled in each turn, since a stream that moves reads from one and writes to another; of the
//! streams only those that were woken.

use std::{
    future::{Future as _, poll_fn},
    io,
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use h2::{Reason, RecvStream, server, server::SendResponse};
use http::{Request, request};
use tokio::time::{Sleep, sleep};

use super::{
    exchange::{Common, Rest, Way, exchange},
    io::{Io, Outlet},
    line::{Driver, Line, Target},
    settings::Settings,
    window::Window,
};
use crate::relay::{request::Http2, select::Decided, stolen::Stolen, stream::Stream};

/// As many streams are accepted before others have their turn.
const ACCEPTS: usize = 64;
/// A caller who is told that his connection ends, and has no streams on it, has so long to say that
/// he has heard it.
const GRACE: Duration = Duration::from_secs(5);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The caller's connection ended in order.
    InOrder,
    /// The caller's connection failed.
    CallerBroke,
    /// The application closed its connection: so ends the caller's.
    AppClosed,
    /// The application's connection failed: so does the caller's.
    AppBroke,
}

/// The connection to the caller.
pub(super) struct Caller<'a> {
    pub(super) connection: server::Connection<Io<&'a Stream>, Bytes>,
    pub(super) outlet: Outlet<&'a Stream>,
    pub(super) window: Window,
    /// What he has announced.
    pub(super) settings: Settings,
}

/// A stream that the caller has opened.
type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

struct Session<'a> {
    stolen: &'a Stolen,
    caller: Caller<'a>,
    app: Driver<&'a Stream>,
    app_line: Line,
    /// How the application's connection ended.
    app_end: Option<Result<(), h2::Error>>,
    targets: Vec<Target<'a>>,
    /// Whether connections to servers are to end with a reset.
    reset: &'a AtomicBool,
    /// The caller was told to open no more streams.
    is_last_call: bool,
    /// Until when a caller is waited for who has been told so and has no streams.
    grace: Option<Pin<Box<Sleep>>>,
    /// The application is gone and nothing is left to do but to let the caller have what was said.
    is_closing: bool,
    /// To be reset when what was sent of them before is out.
    resets: Vec<(SendResponse<Bytes>, Reason)>,
    /// Streams that the application's end has cut.
    lost: Vec<SendResponse<Bytes>>,
}

/// Serves streams until the end.
pub(super) async fn serve<'a>(
    stolen: &'a Stolen,
    caller: Caller<'a>,
    (app_line, app): (Line, Driver<&'a Stream>),
    reset: &'a AtomicBool,
) -> Ended {
    let elsewhere = AtomicUsize::new(0);
    let common =
        Common { stolen, held: caller.window.held(), app: app_line.clone(), elsewhere: &elsewhere };
    let mut session = Session {
        stolen,
        caller,
        app,
        app_line,
        app_end: None,
        targets: Vec::new(),
        reset,
        is_last_call: false,
        grace: None,
        is_closing: false,
        resets: Vec::new(),
        lost: Vec::new(),
    };
    let mut streams = FuturesUnordered::new();
    let ended = poll_fn(|cx| {
        session.poll_servers(cx);
        while let Poll::Ready(Some(rest)) = streams.poll_next_unpin(cx) {
            session.put_away(rest);
        }
        for turn in 0.. {
            match session.poll_caller(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(ended)) => return Poll::Ready(ended),
                Poll::Ready(Ok((request, respond))) => {
                    let (head, body) = request.into_parts();
                    let way = session.way_of(&head);
                    streams.push(exchange(&common, head, body, respond, way));
                }
            }
            if turn == ACCEPTS {
                cx.waker().wake_by_ref();
                break;
            }
        }
        session.caller.outlet.flush(cx);
        session.reset_what_is_out();
        while let Poll::Ready(Some(rest)) = streams.poll_next_unpin(cx) {
            session.put_away(rest);
        }
        session.poll_servers(cx);
        session.poll_end(cx, elsewhere.load(Ordering::Relaxed) > 0, streams.is_empty())
    })
    .await;
    if ended == Ended::CallerBroke {
        reset.store(true, Ordering::Relaxed);
    }
    ended
}

// === impl Session ===

impl Session<'_> {
    fn poll_servers(&mut self, cx: &mut Context<'_>) {
        if self.app_end.is_none()
            && let Poll::Ready(end) = self.app.poll(cx)
        {
            self.app_end = Some(end);
        }
        self.targets.retain_mut(|target| {
            target.let_go_if_withdrawn();
            target.poll(cx).is_pending()
        });
    }

    /// Moves the caller's frames, and gives his next stream.
    fn poll_caller(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accepted, Ended>> {
        if let Some(size) = self.caller.window.change() {
            self.caller.connection.set_target_window_size(size);
        }
        self.caller.connection.poll_accept(cx).map(|accepted| match accepted {
            Some(Ok(stream)) => Ok(stream),
            Some(Err(error)) if error.is_io() => Err(Ended::CallerBroke),
            // What he said was no HTTP/2, and he was told so.
            Some(Err(_)) | None => Err(Ended::InOrder),
        })
    }

    /// Asks the rules of the port as they are now.
    fn way_of(&mut self, head: &request::Parts) -> Way {
        let Decided { target, clock } = self.stolen.decide(&Http2::new(head));
        if target.is_none() && self.app_line.is_usable() {
            return Way { target, reach: None, clock };
        }
        let open = self.targets.iter().find(|open| open.takes(target.as_ref()));
        let reach = match open {
            Some(open) => open.reach(),
            None => {
                let called =
                    Target::call(self.stolen, target.clone(), &self.caller.settings, self.reset);
                let reach = called.reach();
                self.targets.push(called);
                reach
            }
        };
        Way { target, reach: Some(reach), clock }
    }

    fn put_away(&mut self, rest: Rest) {
        match rest {
            Rest::Nothing => {}
            Rest::Reset(respond, reason) => self.resets.push((respond, reason)),
            Rest::Lost(respond) => self.lost.push(respond),
        }
    }

    /// Resets streams after what was sent of them before. A reset takes all with it that is not
    /// out.
    fn reset_what_is_out(&mut self) {
        if !self.caller.outlet.is_full() {
            for (mut respond, reason) in self.resets.drain(..) {
                respond.send_reset(reason);
            }
        }
    }

    /// Sees to it that the caller's connection ends as the application's does, but not before the
    /// streams of targets.
    fn poll_end(&mut self, cx: &mut Context<'_>, is_elsewhere: bool, is_idle: bool) -> Poll<Ended> {
        let is_gone = self.app_end.is_some();
        if !self.is_last_call
            && (is_gone || !self.app_line.is_usable())
            && (is_elsewhere || !is_gone || self.app_line.is_dismissed())
        {
            self.is_last_call = true;
            self.caller.connection.graceful_shutdown();
            cx.waker().wake_by_ref();
        }
        if is_gone && is_elsewhere {
            self.resets
                .extend(self.lost.drain(..).map(|respond| (respond, Reason::INTERNAL_ERROR)));
        }
        if !self.resets.is_empty() && !self.caller.outlet.is_full() {
            cx.waker().wake_by_ref();
        }
        let Some(end) = &self.app_end else { return Poll::Pending };
        if is_elsewhere || !is_idle || !self.resets.is_empty() || self.caller.outlet.is_full() {
            return Poll::Pending;
        }
        if end.is_ok() && self.lost.is_empty() && self.app_line.is_dismissed() {
            // The caller has been dismissed as we were. His connection ends by itself when he has
            // heard of it, and what he has begun before is answered.
            ready!(self.grace.get_or_insert_with(|| Box::pin(sleep(GRACE))).as_mut().poll(cx));
        }
        // One more turn writes what the last one has put together.
        if !std::mem::replace(&mut self.is_closing, true) {
            if let Err(error) = end
                && let Some(reason) = told(error)
            {
                self.caller.connection.abrupt_shutdown(reason);
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(match end {
            Err(error) if error.get_io().is_some_and(is_reset) => Ended::AppBroke,
            _ => Ended::AppClosed,
        })
    }
}

/// What the application complained of.
fn told(error: &h2::Error) -> Option<Reason> {
    error
        .reason()
        .filter(|&reason| error.is_go_away() && error.is_remote() && reason != Reason::NO_ERROR)
}

fn is_reset(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset
}
