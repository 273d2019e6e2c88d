//! The client's direction: finds each request, asks the rules about it, and sends it to the current
//! upstream.

use std::{
    io,
    ops::Range,
    task::{Context, Poll, ready},
};

use interceptor_wire::{
    Reason,
    http1::{self, Event as Framed, RequestHead, Storage},
};

use super::{
    exchange::{Exchange, SentRequest},
    requests::MAX_BUFFERED,
    state::{Action, ClientEvent, Current, Event, HandOff, Owner, Sending, TurnEvent},
};
use crate::relay::{
    direction::Direction,
    hold::Begins,
    http2,
    observe::Observer as _,
    request::Http1,
    select::Decided,
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
            return Poll::Ready(self.send(cx, buffered.all(), buffered.given()));
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
                let mut buffered = std::mem::take(&mut self.requests.buffered);
                buffered.extend_from_slice(&scratch[..n]);
                self.send(cx, buffered.all(), buffered.given())
            } else {
                self.send(cx, &scratch[..n], 0)
            })
        })
    }

    /// Reads from the client while nothing can be sent, to see its end or failure. Ready when
    /// something can be sent.
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
                Ok(_) if self.requests.buffered.has_given() => {
                    self.give(cx)?;
                    if self.requests.buffered.len() >= MAX_BUFFERED {
                        let reason = Reason::HeadTooLong;
                        return Poll::Ready(Err(HandOff::piped(Piped::Request(reason))));
                    }
                }
                Ok(_) => {
                    self.requests.needs_more = false;
                    self.on(Event::Client(ClientEvent::Spoke))?;
                    if self.state.sends() {
                        return Poll::Ready(Ok(()));
                    }
                }
                Err(_) => return Poll::Ready(Err(HandOff::ClientBroke)),
            }
        }
        Poll::Pending
    }

    /// Gives the app what is held if the client has been silent for too long.
    pub(super) fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandOff>> {
        let held = self.requests.buffered.held();
        let is_undecided = self.requests.needs_more || self.state.sending == Sending::Answer;
        if held.is_empty() || !is_undecided {
            self.requests.hold.end();
            return Poll::Pending;
        }
        self.requests.hold.note(held, Begins::Request, self.stolen.workload.silence);
        if !self.state.may_give() {
            return Poll::Pending;
        }
        ready!(self.requests.hold.poll_ended(cx));
        self.on(Event::Client(ClientEvent::Silent))?;
        self.stolen.undecided();
        Poll::Ready(self.give(cx))
    }

    /// Gives the app what is held, without a decision.
    fn give(&mut self, cx: &mut Context<'_>) -> Result<(), HandOff> {
        let observer = self.upstreams.observer(self.stolen, self.state.current);
        let held = self.requests.buffered.give();
        observer.bytes(Direction::Up, held);
        match self.upstreams.stream(self.state.current) {
            Some(app) => match self.requests.to_upstream.write(cx, app, held) {
                Ok(_) => Ok(()),
                Err(error) => self.write_failed(&error),
            },
            None => Ok(()),
        }
    }

    fn client_ended(&mut self) -> Result<(), HandOff> {
        let left = self.requests.has_buffered();
        self.on(Event::Client(ClientEvent::Ended { left }))
    }

    /// Sends what `bytes` begin with, as far as it can be sent now, and buffers the rest. Nothing
    /// else is buffered. The app has the first `given` bytes.
    fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8], given: usize) -> Result<(), HandOff> {
        let mut end = 0;
        let framed = self.frame_requests(bytes, given, &mut end);
        // The app also gets the rest of a head of which it has the beginning.
        let sent_to = if given > end { bytes.len() } else { end };
        let sent = self.requests.edit(&bytes[..sent_to], given);
        self.observer().bytes(Direction::Up, &sent);
        self.requests.buffered.set(&bytes[end..], sent_to - end);
        // The app would get the client's own bytes.
        self.keep_in_hand(&bytes[given..sent_to]);
        if let Some(upstream) = self.upstreams.stream(self.state.current)
            && let Err(error) = self.requests.to_upstream.write(cx, upstream, &sent)
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
    fn frame_requests(
        &mut self,
        bytes: &[u8],
        given: usize,
        end: &mut usize,
    ) -> Result<(), HandOff> {
        self.requests.needs_more = false;
        while self.state.sends() || self.requests.framer.is_at_end() {
            let mut storage = Storage::new();
            match self.requests.framer.next(&bytes[*end..], &mut storage) {
                Framed::Head { head, len } => {
                    if self.admit(&head, *end < given) {
                        let start = *end;
                        *end += len;
                        self.withhold_offers(&head, bytes, start..*end);
                    }
                }
                Framed::Body(len) | Framed::Beyond(len) => *end += len,
                Framed::End(after) => {
                    let has_length = self.requests.has_length;
                    self.on(Event::Client(ClientEvent::End { after, has_length }))?;
                }
                Framed::Doubt(reason) => self.on(Event::Client(ClientEvent::Doubt(reason)))?,
                Framed::NeedMore => {
                    self.requests.needs_more = true;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Decides which upstream gets a request. The app gets one of which it has the beginning.
    /// Returns false if the request has to wait for its turn.
    fn admit(&mut self, head: &RequestHead<'_>, is_given: bool) -> bool {
        let mut decided = match self.requests.decided.take() {
            Some(decided) => decided,
            None if is_given => Decided::default(),
            None => self.stolen.decide(&Http1(head)),
        };
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
        self.requests.has_length = head.has_length;
        let clock = decided.clock;
        let http2 = http2::Offer::of(head).filter(|_| decided.target.is_none());
        self.sent.push_back(SentRequest { asked: head.asked(), after: head.after, clock, http2 });
        true
    }

    /// Hides from a target that the client offers a protocol which carries requests: those that
    /// follow may be for others. `at` is where the head is in `bytes`.
    fn withhold_offers(&mut self, head: &RequestHead<'_>, bytes: &[u8], at: Range<usize>) {
        if self.state.current != Current::Target || !head.offers_requests() {
            return;
        }
        if let Some(sent) = self.sent.back_mut() {
            sent.asked = head.asked_without_offers();
        }
        let instead = http1::without_offers(&bytes[at.clone()]);
        self.requests.edits.push((at, instead));
    }
}
