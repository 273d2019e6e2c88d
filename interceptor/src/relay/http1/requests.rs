//! The way of requests: where each ends, whose it is, and whether it is its turn.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use interceptor_wire::{
    Parsed, Reason,
    http1::{self, After, Body, HeadScan, RequestHead, Storage},
};

use super::{AppDial, BURST, Backlog, Exchange, Leave, Pending, Side, Target, TargetDial, server};
use crate::relay::{
    dial::Ack,
    direction::Direction,
    observe::Observer as _,
    request::Http1,
    route::Route,
    select::Decided,
    stats::{Outcome, Piped},
    stream::{Chunk, SCRATCH},
};

/// As much is read of a caller whose next request has to wait, in bytes.
const MAX_WAITING: usize = http1::MAX_HEAD;
/// A caller with so many requests without a response is not read.
const MAX_PENDING: usize = 1024;

/// What the caller has said, and what is to be done with it.
pub(super) struct Requests {
    /// Read and not sent on: the beginning of a head, or what has to wait.
    inbox: Vec<u8>,
    /// The inbox was looked at, and more is needed.
    starved: bool,
    /// For the server, which has no room for it at present.
    backlog: Backlog,
    chunk: Chunk,
    state: State,
    /// Whose the request is that the inbox begins with.
    owner: Option<Decided>,
    wait: Wait,
    /// The target of this rule could not be reached for it. Counts when the application has it
    /// instead.
    failure: Option<(Arc<Route>, Outcome)>,
    /// The caller has said all.
    ended: bool,
}

enum State {
    /// Before a head, or in it.
    Head(HeadScan),
    Body(Body, After),
    /// The server ends the connection after the last request. What follows is none of its requests.
    Last,
    /// What follows can't be framed.
    InDoubt(Reason),
}

/// What has to come to pass before the inbox is looked at again.
enum Wait {
    Nothing,
    /// All responses to requests for another server.
    Turn,
    /// The target of a rule.
    CallTarget(TargetDial, Arc<Route>),
    /// The application.
    CallApp(AppDial),
    /// The response to Upgrade or CONNECT.
    Answer,
    /// The end of the connection.
    End,
}

// === impl Requests ===

impl Requests {
    pub(super) fn new(said: Vec<u8>) -> Self {
        Self {
            inbox: said,
            starved: false,
            backlog: Backlog::default(),
            chunk: Chunk::default(),
            state: State::Head(HeadScan::default()),
            owner: None,
            wait: Wait::Nothing,
            failure: None,
            ended: false,
        }
    }

    /// What the caller has said and nobody has been sent.
    pub(super) fn rest(self) -> Vec<u8> {
        let mut rest = self.backlog.rest();
        rest.extend_from_slice(&self.inbox);
        rest
    }

    /// What the caller has said and the server has no room for.
    pub(super) fn unsent(self) -> Vec<u8> {
        self.backlog.rest()
    }

    /// Whether the caller is waited for, so that his end or failure will be seen.
    pub(super) fn is_reading(&self) -> bool {
        self.backlog.is_empty() && self.inbox.len() < MAX_WAITING && !self.ended
    }

    /// Whether all that was sent on are whole requests.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.state, State::Head(_) | State::InDoubt(_))
    }

    /// Whether the application is being called only to see to an idle caller, or to one who has
    /// begun a head.
    fn calls_for_no_request(&self) -> bool {
        matches!((&self.wait, &self.state), (Wait::CallApp(_), State::Head(_)))
            && self.owner.is_none()
    }

    /// Whether the answer to Upgrade or CONNECT is waited for.
    pub(super) fn awaits_answer(&self) -> bool {
        matches!(self.wait, Wait::Answer)
    }

    /// The application is needed, as soon as nothing else has to come to pass.
    pub(super) fn call_app(&mut self) {
        if matches!(self.wait, Wait::Nothing) {
            self.wait = Wait::Turn;
        }
    }

    /// The answer to Upgrade or CONNECT is no: what follows is another request.
    pub(super) fn stay(&mut self) {
        if matches!(self.wait, Wait::Answer) {
            self.wait = Wait::Nothing;
        }
    }

    /// The request that was sent on is complete.
    fn complete(&mut self, after: After, side: Side, is_answered: bool) {
        self.state = State::Head(HeadScan::default());
        match after {
            After::Keep => {}
            // The answer may have come before the body was through, and was no then.
            After::Upgrade | After::Connect if is_answered => {}
            After::Upgrade | After::Connect => self.wait = Wait::Answer,
            After::Close => {
                self.state = State::Last;
                // The application sees what it would have seen; to a target it would be somebody
                // else's.
                if side == Side::Target {
                    self.wait = Wait::End;
                }
            }
        }
    }
}

// === impl Exchange ===

impl Exchange<'_> {
    pub(super) fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<Leave> {
        let mut burst = 0;
        loop {
            if let Some(server) = server(self.app.as_ref(), &self.targets, self.side)
                && let Err(error) = ready!(self.requests.backlog.poll_flush(cx, server))
            {
                return Poll::Ready(takes_no_more(&error));
            }
            if self.pending.is_empty() && self.requests.is_between() && !self.responses.is_over() {
                self.rest();
            }
            match self.poll_wait(cx) {
                Poll::Pending => return self.poll_waiting_caller(cx),
                Poll::Ready(Err(leave)) => return Poll::Ready(leave),
                Poll::Ready(Ok(())) => {}
            }
            let taken = if let State::InDoubt(reason) = self.requests.state {
                Err(Leave::piped(Piped::Request(reason)))
            } else if !self.requests.starved && !self.requests.inbox.is_empty() {
                let inbox = std::mem::take(&mut self.requests.inbox);
                self.take_in(cx, &inbox)
            } else if self.requests.ended {
                self.take_end()
            } else if burst >= BURST {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            } else {
                ready!(self.poll_caller(cx, &mut burst))
            };
            if let Err(leave) = taken {
                return Poll::Ready(leave);
            }
        }
    }

    /// No request is under way.
    fn rest(&mut self) {
        if self.side == Side::Target {
            // Meanwhile it may have given up a connection that was idle to it.
            self.app.take_if(|app| !app.stream.is_idle());
            self.turn_to(if self.app.is_some() { Side::App } else { Side::Nobody });
        }
        // A head that has begun is the application's to wait for.
        if self.side == Side::Nobody && self.requests.starved && !self.requests.inbox.is_empty() {
            self.requests.call_app();
        }
    }

    /// Reads from the caller, and passes on what can be.
    fn poll_caller(&mut self, cx: &mut Context<'_>, burst: &mut usize) -> Poll<Result<(), Leave>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let scratch = &mut scratch[..self.requests.chunk.size()];
            let Ok(n) = ready!(self.stolen.client.poll_read(cx, scratch)) else {
                return Poll::Ready(Err(Leave::CallerBroke));
            };
            *burst += n;
            self.requests.chunk.adapt(n);
            Poll::Ready(match (n, self.requests.inbox.is_empty()) {
                (0, _) => {
                    self.requests.ended = true;
                    Ok(())
                }
                (_, true) => self.take_in(cx, &scratch[..n]),
                (_, false) => {
                    let mut inbox = std::mem::take(&mut self.requests.inbox);
                    inbox.extend_from_slice(&scratch[..n]);
                    self.take_in(cx, &inbox)
                }
            })
        })
    }

    /// Reads ahead while something has to come to pass first, so that the caller's end or failure
    /// is seen.
    fn poll_waiting_caller(&mut self, cx: &mut Context<'_>) -> Poll<Leave> {
        while self.requests.is_reading() {
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let room = MAX_WAITING - self.requests.inbox.len();
                let limit = room.min(self.requests.chunk.size());
                let scratch = &mut scratch[..limit];
                let n = ready!(self.stolen.client.poll_read(cx, scratch))?;
                self.requests.inbox.extend_from_slice(&scratch[..n]);
                Poll::Ready(Ok::<_, std::io::Error>(n))
            });
            match ready!(read) {
                Ok(0) => {
                    self.requests.ended = true;
                    return self.end_while_waiting();
                }
                Ok(_) => {
                    self.requests.starved = false;
                    if self.requests.calls_for_no_request() {
                        // Now there may be one, and it need not be the application's.
                        self.requests.wait = Wait::Nothing;
                        self.turns += 1;
                        return Poll::Pending;
                    }
                }
                Err(_) => return Poll::Ready(Leave::CallerBroke),
            }
        }
        Poll::Pending
    }

    /// The caller has ended, and the server that has his last request is to know, for it may take
    /// long to answer.
    fn end_while_waiting(&mut self) -> Poll<Leave> {
        let is_all_the_servers = match self.requests.wait {
            Wait::Answer => self.requests.inbox.is_empty() || self.side == Side::App,
            Wait::End => self.requests.inbox.is_empty(),
            _ => false,
        };
        if is_all_the_servers {
            // A pipe meets the same end, and passes it on.
            return Poll::Ready(Leave::PIPE);
        }
        // What is left is not for the target, unless it only waits for room.
        if self.side == Side::Target
            && !matches!(self.requests.wait, Wait::Nothing)
            && let Some(target) = self.targets.last_mut()
        {
            // A target that has failed shows it at the next read.
            let _ = target.upstream.stream.finish();
            target.is_finished = true;
        }
        Poll::Pending
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Leave>> {
        loop {
            match &mut self.requests.wait {
                _ if self.responses.is_over() || self.pending.len() >= MAX_PENDING => {
                    return Poll::Pending;
                }
                Wait::Nothing => return Poll::Ready(Ok(())),
                Wait::Answer | Wait::End => return Poll::Pending,
                // We don't know where it ends; to the caller, who goes on, it has.
                Wait::Turn if self.responses.is_in_doubt() => {
                    self.responses.end();
                    self.turns += 1;
                    return Poll::Pending;
                }
                Wait::Turn if !self.pending.is_empty() => return Poll::Pending,
                Wait::Turn => self.take_turn(),
                Wait::CallTarget(call, route) => {
                    let (dialled, route) = (ready!(call.as_mut().poll(cx)), Arc::clone(route));
                    self.requests.wait = Wait::Nothing;
                    match dialled {
                        Ok(upstream) => {
                            self.requests.backlog.push(&self.stolen.preface(&route));
                            self.targets.push(Target { route, upstream, is_finished: false });
                            self.turn_to(Side::Target);
                        }
                        Err(error) => {
                            self.requests.failure = Some((route, error.into()));
                            if let Some(owner) = &mut self.requests.owner {
                                owner.target = None;
                            }
                            self.requests.wait = Wait::Turn;
                        }
                    }
                }
                Wait::CallApp(call) => {
                    let dialled = ready!(call.as_mut().poll(cx));
                    let is_unneeded =
                        self.requests.calls_for_no_request() && self.requests.inbox.is_empty();
                    self.requests.wait = Wait::Nothing;
                    match dialled {
                        Err(_) if is_unneeded => {
                            // An idle connection ends in order.
                            self.responses.end();
                            self.turns += 1;
                            return Poll::Pending;
                        }
                        Ok(upstream) => {
                            self.app = Some(upstream);
                            self.turn_to(Side::App);
                        }
                        // As a caller is told whose server is gone.
                        Err(error) => {
                            self.stolen.record.record_all(error.into());
                            return Poll::Ready(Err(Leave::ServerBroke));
                        }
                    }
                }
            }
        }
    }

    /// All responses are through: the next request goes to another server.
    fn take_turn(&mut self) {
        let target = self.requests.owner.as_ref().and_then(|owner| owner.target.clone());
        self.requests.wait = match target {
            // The rule may have gone while the request waited.
            Some(route) if !route.is_over() => {
                if self.has_target(&route) {
                    self.turn_to(Side::Target);
                    Wait::Nothing
                } else {
                    Wait::CallTarget(Box::pin(self.stolen.dial(&route, Ack::Delayed)), route)
                }
            }
            _ => {
                if let Some(owner) = &mut self.requests.owner {
                    owner.target = None;
                }
                if self.app.is_some() {
                    self.turn_to(Side::App);
                    Wait::Nothing
                } else {
                    self.turn_to(Side::Nobody);
                    // From now on its end is the caller's.
                    self.last = Side::App;
                    let ack =
                        if self.requests.owner.is_some() { Ack::Delayed } else { Ack::Immediate };
                    Wait::CallApp(Box::pin(self.stolen.dial_app(ack)))
                }
            }
        };
    }

    /// Sends on what `bytes` begin with and keeps the rest. They are all that there is of the
    /// caller.
    fn take_in(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Leave> {
        let mut end = 0;
        let framed = self.frame(bytes, &mut end);
        self.observer().bytes(Direction::Up, &bytes[..end]);
        self.requests.inbox.extend_from_slice(&bytes[end..]);
        if let Some(server) = server(self.app.as_ref(), &self.targets, self.side) {
            let written = self.requests.backlog.write(cx, server, &bytes[..end]);
            written.map_err(|error| takes_no_more(&error))?;
        }
        framed
    }

    /// Finds out how many of `bytes` can be sent on now: `end`.
    fn frame(&mut self, bytes: &[u8], end: &mut usize) -> Result<(), Leave> {
        self.requests.starved = false;
        while *end < bytes.len()
            && matches!(self.requests.wait, Wait::Nothing)
            && self.pending.len() < MAX_PENDING
        {
            let rest = &bytes[*end..];
            match &mut self.requests.state {
                State::Head(scan) => {
                    let mut storage = Storage::new();
                    match http1::request(rest, scan, &mut storage) {
                        Parsed::Partial => {
                            self.requests.starved = true;
                            return Ok(());
                        }
                        Parsed::Unframed(reason) => {
                            self.requests.state = State::InDoubt(reason);
                            self.requests.owner = None;
                            self.requests.wait = Wait::Turn;
                            // A pipe to the application keeps the order by itself.
                            if self.side == Side::App {
                                self.requests.wait = Wait::Nothing;
                                return Ok(());
                            }
                        }
                        Parsed::Complete { head, len } => {
                            if self.admit(&head) {
                                *end += len;
                            }
                        }
                    }
                }
                State::Body(body, after) => {
                    let after = *after;
                    let taken = body.advance(rest);
                    *end += taken.map_err(|reason| Leave::piped(Piped::Request(reason)))?;
                    if body.is_done() {
                        self.requests.complete(after, self.side, self.pending.is_empty());
                    }
                }
                State::Last => *end = bytes.len(),
                State::InDoubt(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Whether the request is sent on now. Else it waits for its turn.
    fn admit(&mut self, head: &RequestHead<'_>) -> bool {
        let owner = self.requests.owner.take();
        let mut owner = owner.unwrap_or_else(|| self.stolen.decide(&Http1(head)));
        if !self.is_turn_of(&owner) {
            self.requests.owner = Some(owner);
            self.requests.wait = Wait::Turn;
            return false;
        }
        if let Some(route) = &owner.target {
            self.stolen.reached(route);
        }
        if let Some((route, outcome)) = self.requests.failure.take() {
            self.stolen.failed(&route, outcome);
        }
        self.observer().head(Direction::Up, &mut owner.clock);
        let clock = owner.clock;
        self.pending.push_back(Pending { asked: head.asked(), after: head.after, clock });
        if head.body.is_done() {
            self.requests.complete(head.after, self.side, false);
        } else {
            self.requests.state = State::Body(head.body.clone(), head.after);
        }
        true
    }

    /// The caller has said all.
    fn take_end(&mut self) -> Result<(), Leave> {
        if self.side == Side::Target && !self.requests.inbox.is_empty() {
            // The beginning of a request that nobody wanted.
            self.requests.owner = None;
            self.requests.wait = Wait::Turn;
            return Ok(());
        }
        if self.side == Side::Nobody {
            // As soon as he has all that was said to him.
            self.responses.end();
            self.turns += 1;
            return Ok(());
        }
        // A pipe meets the same end, and passes it on.
        Err(Leave::PIPE)
    }
}

/// The server may have said why, and how it ended is to be told: a pipe does both.
fn takes_no_more(error: &std::io::Error) -> Leave {
    Leave::Pipe { why: None, was_reset: error.kind() == std::io::ErrorKind::ConnectionReset }
}
