//! HTTP/1 on a connection whose requests have different owners: bytes pass as they are, in the
//! order in which they came, and each request with its response passes between the caller and the
//! one server that the rules say.
//!
//! The caller sees one connection to one server. So responses keep the order of requests: a request
//! for another server waits until all responses before it are through. The application is called
//! with the first request that is its own, with the first head that is not there as a whole, or
//! when the caller has no other server left; that connection is open as long as the caller's, and
//! whatever it says without being asked is the caller's too. A target's is opened with the first
//! request for it and kept for further ones.
//!
//! ```text
//! caller --> requests.rs --> application | target        where each request ends, and whose it is
//! caller <-- responses.rs <-- application | target       where each response ends
//! ```
//!
//! Where framing ends (a tunnel, a message in doubt, the end of one side) the rest of the
//! connection is a plain pipe to whom it belongs: see [`Leave`].

mod requests;
mod responses;

use std::{
    collections::VecDeque,
    future::{Future as _, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use interceptor_wire::http1::{After, Asked};

use self::{requests::Requests, responses::Responses};
use crate::relay::{
    dial::{AppDialError, DialError},
    observe::{Counters, ResponseClock},
    pipe::Before,
    route::Route,
    select::Decided,
    stats::Piped,
    stolen::Stolen,
    stream::Stream,
    upstream::Upstream,
};

/// A direction gives way to others after this many bytes.
const BURST: usize = 1 << 20;

/// Serves a connection on which the caller speaks HTTP/1; `said` is what he has said. The
/// application need not have been called.
pub(super) async fn serve(stolen: &Stolen, app: Option<Upstream>, said: Vec<u8>) {
    let mut exchange = Exchange {
        stolen,
        side: if app.is_some() { Side::App } else { Side::Nobody },
        app,
        targets: Vec::new(),
        last: Side::App,
        pending: VecDeque::new(),
        requests: Requests::new(said),
        responses: Responses::default(),
        turns: 0,
    };
    let leave = exchange.run().await;
    let Exchange { requests, responses, mut targets, side, app, .. } = exchange;
    let target = if side == Side::Target { targets.pop() } else { None };
    drop(targets);
    match leave {
        Leave::Pipe { why, was_reset } => {
            why.iter().for_each(|&why| stolen.record.pipe(why));
            let before = Before {
                up: requests.rest(),
                down: responses.rest(),
                upstream_was_reset: was_reset,
            };
            match (target, app) {
                (Some(target), app) => {
                    drop(app);
                    stolen.tunnel(&target.route, &target.upstream, before).await;
                }
                (None, Some(app)) => stolen.pass_on(&app, before).await,
                (None, None) => stolen.client.reset_on_close(),
            }
        }
        Leave::CallerBroke => {
            let rest = requests.unsent();
            for (stream, words) in [
                (target.as_ref().map(|target| &target.upstream.stream), &*rest),
                (app.as_ref().map(|app| &app.stream), if target.is_some() { &[] } else { &*rest }),
            ] {
                if let Some(stream) = stream {
                    stream.last_words(words).await;
                    stream.reset_on_close();
                }
            }
        }
        Leave::ServerBroke => {
            // What the server said before is in the send queue, which a reset would throw away.
            stolen.client.last_words(&responses.rest()).await;
            stolen.client.reset_on_close();
        }
        Leave::ServerEnded => stolen.client.linger().await,
    }
}

/// Whose responses the caller reads at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// It is called. So it is when there are no responses to come: its end is the caller's.
    App,
    /// The last one.
    Target,
    /// No request is under way, and there is no application: of the last target it is seen whether
    /// it can still be used.
    Nobody,
}

/// How framing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// What is still to come passes unseen between the caller and the present side.
    Pipe {
        why: Option<Piped>,
        /// Writing to that side met a reset.
        was_reset: bool,
    },
    /// The caller's connection failed.
    CallerBroke,
    /// The connection failed that the caller is to have a response from.
    ServerBroke,
    /// The target closed its connection, or nobody is left who would answer: so ends the caller's,
    /// who sees one server.
    ServerEnded,
}

/// A connection to the target of a rule.
struct Target {
    route: Arc<Route>,
    upstream: Upstream,
    /// It was told that there is no more to come, so it gets no further request.
    is_finished: bool,
}

/// A request whose response is not through.
struct Pending {
    asked: Asked,
    /// What may follow it if the response agrees.
    after: After,
    /// Runs until the response begins.
    clock: ResponseClock,
}

struct Exchange<'a> {
    stolen: &'a Stolen,
    /// None as long as only targets have had requests, and when it ended meanwhile: the next
    /// request for it calls it.
    app: Option<Upstream>,
    /// Each rule's target that is open; the last one is the one that requests go to.
    targets: Vec<Target>,
    side: Side,
    /// Who gave the last response.
    last: Side,
    pending: VecDeque<Pending>,
    requests: Requests,
    responses: Responses,
    /// Counts what one direction did that the other one may have waited for.
    turns: u64,
}

// === impl Leave ===

impl Leave {
    const PIPE: Self = Self::Pipe { why: None, was_reset: false };

    fn piped(why: Piped) -> Self {
        Self::Pipe { why: Some(why), was_reset: false }
    }
}

// === impl Exchange ===

impl Exchange<'_> {
    async fn run(&mut self) -> Leave {
        let client = &self.stolen.client;
        let mut broken = pin!(client.failed());
        poll_fn(|cx| match self.poll(cx) {
            // A caller who is not being read can't show by a failed read that he is gone.
            Poll::Pending if !self.requests.is_reading() => {
                broken.as_mut().poll(cx).map(|()| Leave::CallerBroke)
            }
            poll => poll,
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Leave> {
        loop {
            let turns = self.turns;
            if let Poll::Ready(leave) = self.poll_requests(cx) {
                return Poll::Ready(leave);
            }
            if let Poll::Ready(leave) = self.poll_responses(cx) {
                return Poll::Ready(leave);
            }
            if self.turns == turns {
                return Poll::Pending;
            }
        }
    }

    /// The server that requests go to, and responses come from; none if the application has ended
    /// meanwhile.
    fn server(&self) -> Option<&Stream> {
        server(self.app.as_ref(), &self.targets, self.side)
    }

    /// Whether a request of this owner may follow those that are under way.
    fn is_turn_of(&self, owner: &Decided) -> bool {
        match (&owner.target, self.side, self.targets.last()) {
            (Some(route), Side::Target, Some(target)) => Arc::ptr_eq(route, &target.route),
            (None, Side::App, _) => true,
            _ => false,
        }
    }

    fn turn_to(&mut self, side: Side) {
        self.side = side;
        self.turns += 1;
    }

    /// Whether the target has had whole requests and given all responses: what it does next, were
    /// it to end, is no part of what the caller sees.
    fn is_target_done(&self) -> bool {
        self.side == Side::Target && self.pending.is_empty() && self.requests.is_between()
    }

    /// Whether there is an open connection to the rule's target that can be used again; it is the
    /// last one then.
    fn has_target(&mut self, route: &Arc<Route>) -> bool {
        // Whatever a target says unasked, its end above all, makes it no server for another
        // request.
        self.targets.retain(|target| !target.is_finished && target.upstream.stream.is_idle());
        let Some(at) = self.targets.iter().position(|target| Arc::ptr_eq(&target.route, route))
        else {
            return false;
        };
        let last = self.targets.len() - 1;
        self.targets.swap(at, last);
        true
    }

    /// Observes the side that serves the caller.
    fn observer(&self) -> Counters<'_> {
        observer(self.stolen, &self.targets, self.side)
    }
}

fn server<'a>(app: Option<&'a Upstream>, targets: &'a [Target], side: Side) -> Option<&'a Stream> {
    match side {
        Side::App => app.map(|app| &*app.stream),
        Side::Target | Side::Nobody => targets.last().map(|target| &*target.upstream.stream),
    }
}

fn observer<'a>(stolen: &'a Stolen, targets: &'a [Target], side: Side) -> Counters<'a> {
    match (side, targets.last()) {
        (Side::Target, Some(target)) => stolen.observe_target(&target.route),
        _ => stolen.observe_app(),
    }
}

/// Bytes on their way to a stream that has no room for them at present.
#[derive(Debug, Default)]
struct Backlog {
    bytes: Vec<u8>,
    written: usize,
}

// === impl Backlog ===

impl Backlog {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Keeps bytes that go before all others.
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes `bytes` as far as there is room, and keeps the rest.
    fn write(&mut self, cx: &mut Context<'_>, sink: &Stream, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        if self.is_empty() && !bytes.is_empty() {
            written = match sink.poll_write(cx, bytes) {
                Poll::Ready(result) => result?,
                Poll::Pending => sink.write_now(bytes)?,
            };
        }
        self.push(&bytes[written..]);
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, sink: &Stream) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            self.written += ready!(sink.poll_write(cx, &self.bytes[self.written..]))?;
        }
        // Gives the memory back, not only the contents.
        *self = Self::default();
        Poll::Ready(Ok(()))
    }

    fn rest(mut self) -> Vec<u8> {
        self.bytes.drain(..self.written);
        self.bytes
    }
}

/// An upstream connection that is being made.
type Dial<E> = Pin<Box<dyn Future<Output = Result<Upstream, E>> + Send>>;
type TargetDial = Dial<DialError>;
type AppDial = Dial<AppDialError>;
