//! Gives the app what a target got that closes a new connection at once.
//!
//! The target has to close within [`CLOSED_WITHIN`](crate::relay::target_closed::CLOSED_WITHIN) and
//! before its first byte. The methods have to be idempotent (RFC 9110, section 9.2.2), and all
//! bytes of the requests still in hand. Whether the target was reached is counted when that is
//! over.

use std::{sync::Arc, task::Context};

use super::{
    exchange::Exchange,
    state::{Current, Event, TurnEvent},
};
use crate::relay::{route::Route, select::Decided, target_closed::TARGET_CLOSED};

// === impl Exchange ===

impl Exchange<'_> {
    /// Notes that the current target gets a request.
    pub(super) fn request_for_target(&mut self, route: &Arc<Route>, method: &str) {
        if !self.in_hand.as_mut().is_some_and(|in_hand| in_hand.request(method)) {
            self.target_is_reached();
            self.stolen.reached(route);
        }
    }

    /// Notes that the current upstream gets these bytes.
    pub(super) fn keep_in_hand(&mut self, bytes: &[u8]) {
        if self.in_hand.as_mut().is_some_and(|in_hand| !in_hand.keep(bytes)) {
            self.target_is_reached();
        }
    }

    /// The requests are the target's from now on.
    pub(super) fn target_is_reached(&mut self) {
        if let Some(in_hand) = self.in_hand.take() {
            (0..in_hand.requests).for_each(|_| self.stolen.reached(&in_hand.route));
        }
    }

    /// Ends the time for which the target may close.
    pub(super) fn poll_in_hand(&mut self, cx: &mut Context<'_>) {
        if self.in_hand.as_mut().is_some_and(|in_hand| in_hand.poll_end(cx).is_ready()) {
            self.target_is_reached();
        }
    }

    /// The current upstream has ended. Returns whether the app gets what it got.
    pub(super) fn repeats(&mut self) -> bool {
        if self.state.current != Current::Target {
            return false;
        }
        let Some(in_hand) = self.in_hand.take_if(|in_hand| in_hand.may_be_repeated()) else {
            return false;
        };
        let clock = self.sent.pop_front().map(|first| first.clock).unwrap_or_default();
        self.sent.clear();
        self.requests.repeat(in_hand.sent, Decided { target: None, clock });
        self.requests.failure = Some((in_hand.route, TARGET_CLOSED));
        self.upstreams.drop_current_target();
        let is_app_open = self.upstreams.is_app_open();
        self.state.on(Event::Turn(TurnEvent::TargetClosed { is_app_open }));
        true
    }
}
