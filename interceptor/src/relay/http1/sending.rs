//! The client's direction: finds each request, asks the rules about it, and sends it to the current
//! upstream.

use std::{
    io,
    task::{Context, Poll, ready},
};

use interceptor_wire::http1::{Event as Framed, RequestHead, Storage};

use super::{
    exchange::{Exchange, SentRequest},
    requests::MAX_BUFFERED,
    state::{Action, ClientEvent, Event, HandOff, Owner, Sending, TurnEvent},
};
use crate::relay::{
    direction::Direction,
    observe::Observer as _,
    request::Http1,
    stats::Piped,
    stream::{BURST, SCRATCH},
};

// === impl Exchange ===

impl Exchange<'_> {
    /// Moves bytes of the client as far as its upstreams and the order of responses allow.
    pub(super) fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<HandOff> {
        let mut burst = 0;
        loop {
            if let Err(hand_off) = ready!(self.poll_request_step(cx, &mut burst)) {
                return Poll::Ready(hand_off);
            }
        }
    }

    fn poll_request_step(
        &mut self,
        cx: &mut Context<'_>,
        burst: &mut usize,
    ) -> Poll<Result<(), HandOff>> {
        if let Some(upstream) = self.upstreams.stream(self.state.current) {
            let flushed = ready!(self.requests.to_upstream.poll_flush(cx, upstream, |_| {}));
            if let Err(error) = flushed {
                self.write_failed(&error)?;
            }
        }
        self.settle()?;
        if self.poll_turn(cx)?.is_pending() {
            return self.poll_read_ahead(cx);
        }
        if let Sending::Unframed(reason) = self.state.sending {
            return Poll::Ready(Err(HandOff::piped(Piped::Request(reason))));
        }
        if !self.requests.needs_more && self.requests.has_buffered() {
            let buffered = std::mem::take(&mut self.requests.buffered);
            return Poll::Ready(self.send(cx, &buffered));
        }
        if self.requests.ended {
            return Poll::Ready(self.client_ended());
        }
        if *burst >= BURST {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.poll_read_and_send(cx, burst)
    }

    /// Leaves a target that is done, and finds out whether the app is needed for a partial head.
    fn settle(&mut self) -> Result<(), HandOff> {
        if self.state.is_target_done() {
            let is_app_open = self.upstreams.is_app_open();
            self.on(Event::Turn(TurnEvent::TargetDone { is_app_open }))?;
        }
        if self.requests.needs_more && self.requests.has_buffered() {
            self.on(Event::Client(ClientEvent::PartialHead))?;
        }
        Ok(())
    }

    /// Reads from the client, and sends what can be sent.
    fn poll_read_and_send(
        &mut self,
        cx: &mut Context<'_>,
        burst: &mut usize,
    ) -> Poll<Result<(), HandOff>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let scratch = &mut scratch[..self.requests.chunk.size()];
            let Ok(n) = ready!(self.stolen.client.poll_read(cx, scratch)) else {
                return Poll::Ready(Err(HandOff::ClientBroke));
            };
            *burst += n;
            self.requests.chunk.adapt(n);
            if n == 0 {
                self.requests.ended = true;
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(if self.requests.has_buffered() {
                let mut bytes = std::mem::take(&mut self.requests.buffered);
                bytes.extend_from_slice(&scratch[..n]);
                self.send(cx, &bytes)
            } else {
                self.send(cx, &scratch[..n])
            })
        })
    }

    /// Reads from the client while nothing can be sent, to see its end or failure.
    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandOff>> {
        while self.requests.is_reading() {
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let room = MAX_BUFFERED - self.requests.buffered.len();
                let scratch = &mut scratch[..room.min(self.requests.chunk.size())];
                let n = ready!(self.stolen.client.poll_read(cx, scratch))?;
                self.requests.buffered.extend_from_slice(&scratch[..n]);
                Poll::Ready(Ok::<_, io::Error>(n))
            });
            match ready!(read) {
                Ok(0) => {
                    self.requests.ended = true;
                    self.client_ended()?;
                }
                Ok(_) => {
                    self.requests.needs_more = false;
                    self.on(Event::Client(ClientEvent::Spoke))?;
                    if self.state.sends() {
                        break;
                    }
                }
                Err(_) => return Poll::Ready(Err(HandOff::ClientBroke)),
            }
        }
        Poll::Pending
    }

    fn client_ended(&mut self) -> Result<(), HandOff> {
        let left = self.requests.has_buffered();
        self.on(Event::Client(ClientEvent::Ended { left }))
    }

    /// Sends what `bytes` begin with, as far as it can be sent now, and buffers the rest. Nothing
    /// else is buffered.
    fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), HandOff> {
        let mut end = 0;
        let framed = self.frame_requests(bytes, &mut end);
        self.observer().bytes(Direction::Up, &bytes[..end]);
        self.requests.buffered.extend_from_slice(&bytes[end..]);
        self.keep_in_hand(&bytes[..end]);
        if let Some(upstream) = self.upstreams.stream(self.state.current)
            && let Err(error) = self.requests.to_upstream.write(cx, upstream, &bytes[..end])
        {
            return self.write_failed(&error);
        }
        framed
    }

    /// Before the failure, the upstream may have sent an explanation. A pipe passes that on, and
    /// shows the client how the connection ended.
    fn write_failed(&mut self, error: &io::Error) -> Result<(), HandOff> {
        if self.repeats() {
            return Ok(());
        }
        let was_reset = error.kind() == io::ErrorKind::ConnectionReset;
        Err(HandOff::Pipe { why: None, was_reset })
    }

    /// Finds the `end` of the bytes that can be sent now.
    fn frame_requests(&mut self, bytes: &[u8], end: &mut usize) -> Result<(), HandOff> {
        self.requests.needs_more = false;
        while self.state.sends() || self.requests.framer.is_at_end() {
            let mut storage = Storage::new();
            match self.requests.framer.next(&bytes[*end..], &mut storage) {
                Framed::Head { head, len } => {
                    if self.admit(&head) {
                        *end += len;
                    }
                }
                Framed::Body(len) | Framed::Beyond(len) => *end += len,
                Framed::End(after) => self.on(Event::Client(ClientEvent::End(after)))?,
                Framed::Doubt(reason) => self.on(Event::Client(ClientEvent::Doubt(reason)))?,
                Framed::NeedMore => {
                    self.requests.needs_more = true;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Decides which upstream gets a request. Returns false if the request has to wait for its
    /// turn.
    fn admit(&mut self, head: &RequestHead<'_>) -> bool {
        let decided = self.requests.decided.take();
        let mut decided = decided.unwrap_or_else(|| self.stolen.decide(&Http1(head)));
        let owner = match &decided.target {
            Some(route) if self.upstreams.is_current(self.state.current, route) => {
                Owner::CurrentTarget
            }
            Some(_) => Owner::OtherTarget,
            None => Owner::App,
        };
        if self.state.on(Event::Client(ClientEvent::Head(owner))) != Action::Send {
            self.requests.framer.put_back_head();
            self.requests.decided = Some(decided);
            return false;
        }
        if let Some(route) = &decided.target {
            self.request_for_target(route, head.method());
        }
        if let Some((route, outcome)) = self.requests.failure.take() {
            self.stolen.failed(&route, outcome);
        }
        self.observer().head(Direction::Up, &mut decided.clock);
        let clock = decided.clock;
        self.sent.push_back(SentRequest { asked: head.asked(), after: head.after, clock });
        true
    }
}
