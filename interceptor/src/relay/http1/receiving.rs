//! The upstream's direction: finds the end of each response, since the next one may come from
//! another upstream.

use std::task::{Context, Poll, ready};

use interceptor_wire::http1::{After, Event as Framed, ResponseHead, Storage};

use super::{
    exchange::Exchange,
    state::{Event, HandOff, UpstreamEvent},
};
use crate::relay::{
    direction::Direction,
    farewell::Phase,
    observe::Observer as _,
    stream::{BURST, SCRATCH},
};

// === impl Exchange ===

impl Exchange<'_> {
    /// Moves bytes of the current upstream to the client.
    pub(super) fn poll_responses(&mut self, cx: &mut Context<'_>) -> Poll<HandOff> {
        let mut burst = 0;
        loop {
            let client = &self.stolen.client;
            if ready!(self.responses.to_client.poll_flush(cx, client, |_| {})).is_err() {
                return Poll::Ready(HandOff::ClientBroke);
            }
            if self.state.is_over() {
                return Poll::Ready(HandOff::Close);
            }
            if self.state.is_target_done() {
                return Poll::Pending;
            }
            if burst >= BURST {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let current = self.state.current;
            if let Err(hand_off) = ready!(self.poll_read_and_pass(cx, &mut burst)) {
                return Poll::Ready(hand_off);
            }
            if self.state.current != current {
                // The other upstream may not be read before a request is sent to it.
                return Poll::Pending;
            }
        }
    }

    /// Reads from the current upstream, and passes responses that are due.
    fn poll_read_and_pass(
        &mut self,
        cx: &mut Context<'_>,
        burst: &mut usize,
    ) -> Poll<Result<(), HandOff>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let Some(upstream) = self.upstreams.stream(self.state.current) else {
                return Poll::Pending;
            };
            let scratch = &mut scratch[..self.responses.chunk.size()];
            let read = ready!(upstream.poll_read(cx, scratch));
            if !matches!(read, Ok(1..)) && self.repeats() {
                return Poll::Ready(Ok(()));
            }
            self.target_is_reached();
            let Ok(n) = read else {
                return Poll::Ready(self.on(Event::Upstream(UpstreamEvent::Broke)));
            };
            *burst += n;
            self.responses.chunk.adapt(n);
            Poll::Ready(if n == 0 {
                self.upstream_ended()
            } else if self.responses.buffered.is_empty() {
                self.pass(cx, &scratch[..n])
            } else {
                let mut bytes = std::mem::take(&mut self.responses.buffered);
                bytes.extend_from_slice(&scratch[..n]);
                self.pass(cx, &bytes)
            })
        })
    }

    /// FIN of the upstream.
    fn upstream_ended(&mut self) -> Result<(), HandOff> {
        self.on(Event::Upstream(UpstreamEvent::Ended))?;
        if self.state.is_over() {
            // The client gets the beginning of a head, too: it sees the end that the target gave.
            let beginning = std::mem::take(&mut self.responses.buffered);
            self.responses.to_client.push(&beginning);
        }
        Ok(())
    }

    /// Passes what `bytes` begin with, as far as responses are due, and buffers the rest. Nothing
    /// else is buffered.
    fn pass(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), HandOff> {
        let (mut end, current) = (0, self.state.current);
        let framed = self.frame_responses(bytes, &mut end);
        if framed.is_ok() && end == bytes.len() {
            self.take_leave(Phase::Asking);
        }
        self.observer().bytes(Direction::Down, &bytes[..end]);
        let is_given_up = self.state.is_over()
            || self.state.current != current
            || self.upstreams.stream(current).is_none();
        if !is_given_up {
            self.responses.buffered.extend_from_slice(&bytes[end..]);
        }
        let (client, bytes) = (&self.stolen.client, &bytes[..end]);
        let written = if self.state.is_over() {
            // FIN follows, and travels with the last bytes.
            self.responses.to_client.write_last(cx, client, bytes)
        } else {
            self.responses.to_client.write(cx, client, bytes)
        };
        written.map_err(|_| HandOff::ClientBroke)?;
        framed
    }

    /// Finds the `end` of the bytes that belong to responses that are due.
    fn frame_responses(&mut self, bytes: &[u8], end: &mut usize) -> Result<(), HandOff> {
        while !self.state.is_over() {
            let Some(request) = self.sent.front() else {
                if *end < bytes.len() {
                    return self.on(Event::Upstream(UpstreamEvent::Unasked));
                }
                break;
            };
            let mut storage = Storage::new();
            match self.responses.framer.next(&bytes[*end..], request.asked, &mut storage) {
                Framed::Head { head, len } => {
                    *end += len;
                    self.response_began(&head)?;
                }
                Framed::Body(len) | Framed::Beyond(len) => *end += len,
                Framed::End(after) => self.response_ended(after)?,
                Framed::Doubt(reason) => {
                    self.on(Event::Upstream(UpstreamEvent::Doubt(reason)))?;
                }
                Framed::NeedMore => break,
            }
        }
        Ok(())
    }

    fn response_began(&mut self, head: &ResponseHead<'_>) -> Result<(), HandOff> {
        if let Some(request) = self.sent.front_mut() {
            let observer = self.upstreams.observer(self.stolen, self.state.current);
            observer.head(Direction::Down, &mut request.clock);
        }
        if head.switches_to_http2() && self.sent.front().is_some_and(|sent| sent.http2.is_some()) {
            return self.on(Event::Upstream(UpstreamEvent::SwitchedToHttp2));
        }
        if matches!(head.after, After::Upgrade | After::Connect) {
            return self.on(Event::Upstream(UpstreamEvent::Switched));
        }
        if head.body.is_until_close() {
            return self.on(Event::Upstream(UpstreamEvent::UntilClose));
        }
        Ok(())
    }

    fn response_ended(&mut self, after: After) -> Result<(), HandOff> {
        let request = self.sent.pop_front().map_or(After::Keep, |request| request.after);
        self.on(Event::Upstream(UpstreamEvent::End { after, request }))
    }
}
