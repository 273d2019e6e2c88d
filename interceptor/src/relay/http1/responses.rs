//! The way of responses: where each ends, so that the next one may come from another server.

use std::task::{Context, Poll, ready};

use interceptor_wire::{
    Parsed, Reason,
    http1::{self, After, Body, HeadScan, Storage},
};

use super::{BURST, Backlog, Exchange, Leave, Side, observer};
use crate::relay::{
    direction::Direction,
    observe::Observer as _,
    stats::Piped,
    stream::{Chunk, SCRATCH},
};

/// What the server has said.
#[derive(Default)]
pub(super) struct Responses {
    /// The beginning of a head.
    inbox: Vec<u8>,
    /// For the caller, who has no room for it at present.
    backlog: Backlog,
    chunk: Chunk,
    state: State,
    /// The target has said all that the caller is to have.
    over: bool,
}

enum State {
    /// Before a head, or in it.
    Head(HeadScan),
    /// In a body; behind it the server may end the connection.
    Body(Body, After),
    /// All that the target still says belongs to its last response, which ends with the connection.
    Last,
    /// So it does as far as we know, but to the caller it may end before.
    InDoubt,
}

// === impl State ===

impl Default for State {
    fn default() -> Self {
        Self::Head(HeadScan::default())
    }
}

// === impl Responses ===

impl Responses {
    /// What the server has said and the caller has not been sent.
    pub(super) fn rest(self) -> Vec<u8> {
        let mut rest = self.backlog.rest();
        rest.extend_from_slice(&self.inbox);
        rest
    }

    /// Whether the target has said all that the caller is to have.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether we don't know where the target's response ends.
    pub(super) fn is_in_doubt(&self) -> bool {
        matches!(self.state, State::InDoubt)
    }

    /// What the target still says is not for the caller.
    pub(super) fn end(&mut self) {
        self.over = true;
    }
}

// === impl Exchange ===

impl Exchange<'_> {
    pub(super) fn poll_responses(&mut self, cx: &mut Context<'_>) -> Poll<Leave> {
        let mut burst = 0;
        loop {
            if ready!(self.responses.backlog.poll_flush(cx, &self.stolen.client)).is_err() {
                return Poll::Ready(Leave::CallerBroke);
            }
            if self.responses.over {
                return Poll::Ready(Leave::ServerEnded);
            }
            if self.is_target_done() {
                // It is the application's turn, or that of the next request.
                return Poll::Pending;
            }
            if burst >= BURST {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let side = self.side;
            let said = SCRATCH.with_borrow_mut(|scratch| {
                let Some(server) = self.server() else { return Poll::Pending };
                let scratch = &mut scratch[..self.responses.chunk.size()];
                let n = match ready!(server.poll_read(cx, scratch)) {
                    Ok(n) => n,
                    Err(_) if side == Side::Nobody => 0,
                    Err(_) => return Poll::Ready(Err(Leave::ServerBroke)),
                };
                burst += n;
                self.responses.chunk.adapt(n);
                Poll::Ready(match (n, self.responses.inbox.is_empty()) {
                    (0, _) => self.server_ended(),
                    (_, true) => self.give_out(cx, &scratch[..n]),
                    (_, false) => {
                        let mut inbox = std::mem::take(&mut self.responses.inbox);
                        inbox.extend_from_slice(&scratch[..n]);
                        self.give_out(cx, &inbox)
                    }
                })
            });
            if let Err(leave) = ready!(said) {
                return Poll::Ready(leave);
            }
            if self.side != side {
                // The other server is to be read now, and maybe not before a request is sent to it.
                return Poll::Pending;
            }
        }
    }

    /// The server has said all.
    fn server_ended(&mut self) -> Result<(), Leave> {
        match self.side {
            // A pipe meets the same end, and passes it on.
            Side::App => return if self.forget_app() { Ok(()) } else { Err(Leave::PIPE) },
            Side::Nobody => {
                self.forget_targets();
                return Ok(());
            }
            Side::Target => {}
        }
        let beginning = std::mem::take(&mut self.responses.inbox);
        self.responses.backlog.push(&beginning);
        self.responses.over = true;
        Ok(())
    }

    /// Passes on what `bytes` begin with and keeps the rest. They are all that there is of the
    /// server.
    fn give_out(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Leave> {
        let (mut end, side) = (0, self.side);
        let framed = self.frame_responses(bytes, &mut end);
        self.observer().bytes(Direction::Down, &bytes[..end]);
        // Nothing is kept of a server that was given up on.
        if !self.responses.over && self.side == side && self.server().is_some() {
            self.responses.inbox.extend_from_slice(&bytes[end..]);
        }
        let written = self.responses.backlog.write(cx, &self.stolen.client, &bytes[..end]);
        written.map_err(|_| Leave::CallerBroke)?;
        framed
    }

    /// Finds out how many of `bytes` belong to responses that are asked for: `end`.
    fn frame_responses(&mut self, bytes: &[u8], end: &mut usize) -> Result<(), Leave> {
        while *end < bytes.len() && !self.responses.over {
            let rest = &bytes[*end..];
            match &mut self.responses.state {
                State::Head(scan) => {
                    let Some(pending) = self.pending.front_mut() else { return self.unasked() };
                    let mut storage = Storage::new();
                    match http1::response(rest, pending.asked, scan, &mut storage) {
                        Parsed::Partial => return Ok(()),
                        Parsed::Unframed(reason) => self.in_doubt(reason)?,
                        Parsed::Complete { head, len } => {
                            observer(self.stolen, &self.targets, self.side)
                                .head(Direction::Down, &mut pending.clock);
                            *end += len;
                            if matches!(head.after, After::Upgrade | After::Connect) {
                                return Err(Leave::piped(Piped::Tunnel));
                            }
                            if head.is_interim() {
                                continue;
                            }
                            if head.body.is_until_close() {
                                self.until_close()?;
                            } else if head.body.is_done() {
                                self.responded(head.after)?;
                            } else {
                                self.responses.state = State::Body(head.body.clone(), head.after);
                            }
                        }
                    }
                }
                State::Body(body, after) => {
                    let after = *after;
                    match body.advance(rest) {
                        Ok(n) => {
                            *end += n;
                            if body.is_done() {
                                self.responded(after)?;
                            }
                        }
                        Err(reason) => self.in_doubt(reason)?,
                    }
                }
                State::Last | State::InDoubt => *end = bytes.len(),
            }
        }
        Ok(())
    }

    /// A response is through.
    fn responded(&mut self, after: After) -> Result<(), Leave> {
        self.responses.state = State::default();
        self.last = self.side;
        let pending = self.pending.pop_front();
        if pending.is_some_and(|pending| matches!(pending.after, After::Upgrade | After::Connect)) {
            self.requests.stay();
        }
        self.turns += 1;
        match (self.side, after) {
            // The caller takes what he has said behind it for unheard (RFC 9112, section 9.6), so
            // nobody else may answer that. The end itself is still to come.
            (Side::App, After::Close) => return Err(Leave::PIPE),
            // Its end is not looked for: it has no response to give any more.
            (Side::Target, After::Close) => self.responses.over = true,
            _ => {}
        }
        Ok(())
    }

    /// The server speaks without being asked, as when it gives a caller up who has been idle for
    /// long.
    fn unasked(&mut self) -> Result<(), Leave> {
        match self.side {
            Side::App => {
                if self.forget_app() {
                    Ok(())
                } else {
                    Err(Leave::piped(Piped::ServerSpoke))
                }
            }
            Side::Target => {
                self.responses.over = true;
                Ok(())
            }
            Side::Nobody => {
                self.forget_targets();
                Ok(())
            }
        }
    }

    /// The target has given an idle connection up. How long the caller's may be idle is the
    /// application's to say.
    fn forget_targets(&mut self) {
        self.targets.clear();
        self.responses.inbox.clear();
        self.requests.call_app();
        self.turns += 1;
    }

    /// The application gave its idle connection up while the target had the caller's requests: to
    /// the caller the connection was not idle, so he is not to meet its end. Whether that was so.
    fn forget_app(&mut self) -> bool {
        let was_idle = self.pending.is_empty() && self.last == Side::Target;
        if was_idle {
            self.app = None;
            self.responses.inbox.clear();
            self.turn_to(Side::Nobody);
        }
        was_idle
    }

    /// A response that can't be framed is the last one.
    fn in_doubt(&mut self, reason: Reason) -> Result<(), Leave> {
        if self.side == Side::App {
            return Err(Leave::piped(Piped::Response(reason)));
        }
        if self.requests.awaits_answer() {
            // Whatever it is, it is between these two.
            return Err(Leave::piped(Piped::Response(reason)));
        }
        self.stolen.record.pipe(Piped::Response(reason));
        self.responses.state = State::InDoubt;
        Ok(())
    }

    /// The response ends with the connection.
    fn until_close(&mut self) -> Result<(), Leave> {
        if self.side == Side::App {
            return Err(Leave::PIPE);
        }
        self.responses.state = State::Last;
        Ok(())
    }
}
