//! One client's connection while it is framed: both directions, and what their events lead to.

use std::{
    collections::VecDeque,
    future::{Future as _, poll_fn},
    pin::pin,
    task::{Context, Poll, ready},
};

use interceptor_wire::http1::{After, Asked};

use super::{
    in_hand::InHand,
    requests::Requests,
    responses::Responses,
    state::{Action, Event, HandOff, State},
    upstreams::Upstreams,
};
use crate::relay::{
    farewell::Phase,
    http2,
    observe::{Counters, ResponseClock},
    stolen::Stolen,
};

pub(super) struct Exchange<'a> {
    pub(super) stolen: &'a Stolen,
    pub(super) state: State,
    pub(super) upstreams: Upstreams,
    /// The requests whose response has not passed, oldest first. All went to the current upstream.
    pub(super) sent: VecDeque<SentRequest>,
    pub(super) requests: Requests,
    pub(super) responses: Responses,
    /// What a new target got, as long as the app can get it instead.
    pub(super) in_hand: Option<InHand>,
}

/// A request whose response has not passed.
pub(super) struct SentRequest {
    pub(super) asked: Asked,
    /// What follows the request, if the response agrees.
    pub(super) after: After,
    /// Runs until the response begins.
    pub(super) clock: ResponseClock,
    /// What it says of HTTP/2, if it offers that to the app.
    pub(super) http2: Option<http2::Offer>,
}

// === impl Exchange ===

impl Exchange<'_> {
    /// Moves requests and responses until framing ends.
    pub(super) async fn run(&mut self) -> HandOff {
        let client = &self.stolen.client;
        let mut failed = pin!(client.failed());
        let hand_off = poll_fn(|cx| match self.poll(cx) {
            // While the client is not read, no failed read shows that it is gone.
            Poll::Pending if !self.requests.is_reading() => {
                ready!(failed.as_mut().poll(cx));
                Poll::Ready(HandOff::ClientBroke)
            }
            poll => poll,
        })
        .await;
        self.target_is_reached();
        if hand_off == HandOff::UpstreamBroke
            && let Some(outcome) = self.requests.app_failure
        {
            self.stolen.record.record_all(outcome);
        }
        hand_off
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<HandOff> {
        loop {
            let before = self.state;
            if let Poll::Ready(hand_off) = self.poll_requests(cx) {
                return Poll::Ready(hand_off);
            }
            if let Poll::Ready(hand_off) = self.poll_responses(cx) {
                return Poll::Ready(hand_off);
            }
            self.take_leave(Phase::Closing);
            // Each direction may have waited for a change that the other one made.
            if self.state == before {
                self.poll_in_hand(cx);
                if let Err(hand_off) = ready!(self.poll_hold(cx)) {
                    return Poll::Ready(hand_off);
                }
            }
        }
    }

    /// Observes what passes between the client and the current upstream.
    pub(super) fn observer(&self) -> Counters<'_> {
        self.upstreams.observer(self.stolen, self.state.current)
    }

    /// Passes an event to the state, and carries out the action that it returns.
    pub(super) fn on(&mut self, event: Event) -> Result<(), HandOff> {
        match self.state.on(event) {
            Action::Continue | Action::Wait | Action::Send | Action::Give | Action::LeaveDial => {}
            Action::OpenTarget => return self.open_target(),
            Action::DialApp => self.dial_app(),
            Action::FinishTarget => self.upstreams.finish_target(),
            Action::DropApp => {
                self.upstreams.drop_app();
                self.responses.forget_buffered();
            }
            Action::DropTargets => {
                self.upstreams.drop_targets();
                self.responses.forget_buffered();
            }
            Action::Count(why) => self.stolen.record.pipe(why),
            Action::HandOff(hand_off) => return Err(hand_off),
        }
        Ok(())
    }
}
