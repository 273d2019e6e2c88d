//! Brings the next request to its upstream: waits for its turn, reuses a connection or dials.

use std::{
    future::ready,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::FutureExt;

use super::{
    exchange::Exchange,
    in_hand::InHand,
    state::{Event, HandOff, Next, Sending, TurnEvent},
};
use crate::relay::{
    dial::{Ack, AppDialError, DialError},
    route::Route,
    upstream::Upstream,
};

// === impl Exchange ===

impl Exchange<'_> {
    /// Waits until bytes of the client can be sent.
    pub(super) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandOff>> {
        loop {
            if self.state.is_blocked() {
                return Poll::Pending;
            }
            match self.state.sending {
                Sending::Between | Sending::Body | Sending::AfterLast | Sending::Unframed(_) => {
                    return Poll::Ready(Ok(()));
                }
                Sending::Answer | Sending::Stopped => return Poll::Pending,
                Sending::Turn(_) => {
                    let before = self.state;
                    self.on(Event::Turn(TurnEvent::Examined))?;
                    if self.state == before {
                        return Poll::Pending;
                    }
                }
                Sending::Dial(_) => ready!(self.poll_dial(cx))?,
            }
        }
    }

    /// Opens the target of the next request: reuses its open connection or dials.
    pub(super) fn open_target(&mut self) -> Result<(), HandOff> {
        match self.requests.wanted_target() {
            // The rule may have ended while the request waited.
            Some(route) if !route.is_over() => {
                if self.upstreams.reuse_target(&route) {
                    return self.on(Event::Turn(TurnEvent::TargetOpen));
                }
                let connect = Box::pin(self.stolen.dial(&route, Ack::Delayed));
                self.requests.dials.target = Some((connect, route));
                Ok(())
            }
            _ => self.fall_back(),
        }
    }

    pub(super) fn dial_app(&mut self) {
        if self.has_dialled_app() {
            return;
        }
        // Without a request there are no bytes for the app that could carry the ACK.
        let has_request = self.state.sending == Sending::Dial(Next::App);
        let ack = if has_request { Ack::Delayed } else { Ack::Immediate };
        self.requests.dials.app = Some(Box::pin(self.stolen.dial_app(ack)));
    }

    /// Whether a dial to the app that was left alone is in progress, or has led to a connection
    /// that the app still keeps open.
    fn has_dialled_app(&mut self) -> bool {
        let dial = &mut self.requests.dials.app;
        match dial.as_mut().map(FutureExt::now_or_never) {
            Some(None) => true,
            Some(Some(Ok(app))) if app.stream.is_idle() => {
                *dial = Some(Box::pin(ready(Ok(app))));
                true
            }
            Some(Some(_)) | None => false,
        }
    }

    fn poll_dial(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandOff>> {
        let dials = &mut self.requests.dials;
        if self.state.sending == Sending::Dial(Next::Target) {
            let (connect, route) =
                dials.target.as_mut().expect("`Dial(Target)` has a dial in progress");
            let (connected, route) = (ready!(connect.as_mut().poll(cx)), Arc::clone(route));
            dials.target = None;
            return Poll::Ready(self.target_dialled(route, connected));
        }
        let connect = dials.app.as_mut().expect("`Dial` has a dial in progress");
        let connected = ready!(connect.as_mut().poll(cx));
        dials.app = None;
        Poll::Ready(self.app_dialled(connected))
    }

    fn target_dialled(
        &mut self,
        route: Arc<Route>,
        connected: Result<Upstream, DialError>,
    ) -> Result<(), HandOff> {
        match connected {
            Ok(upstream) => {
                self.requests.to_upstream.push(&self.stolen.preface(&route));
                self.in_hand = Some(InHand::new(&route));
                self.upstreams.open_target(route, upstream);
                self.requests.app_failure = None;
                self.on(Event::Turn(TurnEvent::TargetOpen))
            }
            Err(error) => {
                self.requests.failure = Some((route, error.into()));
                self.fall_back()
            }
        }
    }

    fn app_dialled(&mut self, connected: Result<Upstream, AppDialError>) -> Result<(), HandOff> {
        match connected {
            Ok(upstream) => {
                self.upstreams.open_app(upstream);
                self.requests.app_failure = None;
                self.on(Event::Turn(TurnEvent::AppOpen))
            }
            Err(error) => {
                self.requests.app_failure = Some(error.into());
                let left = self.requests.has_buffered();
                self.on(Event::Turn(TurnEvent::AppFailed { left }))
            }
        }
    }

    /// The app gets the next request instead of its target.
    fn fall_back(&mut self) -> Result<(), HandOff> {
        self.requests.want_app();
        self.on(Event::Turn(TurnEvent::FellBack))
    }
}
