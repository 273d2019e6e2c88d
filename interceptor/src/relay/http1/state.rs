//! The state of an HTTP/1 connection, and what each event does to it. No I/O happens here.
//!
//! [`State::on`] is the whole table of the module documentation in [`super`]: the rows of the
//! client's side are [`State::on_client`] and [`State::on_turn`], those of the upstream's side are
//! [`State::on_upstream`].

mod event;

use interceptor_wire::{Reason, http1::After};

pub(super) use self::event::{
    Action, ClientEvent, Event, HandOff, Owner, TurnEvent, UpstreamEvent,
};
use crate::relay::stats::Piped;

/// Maximum number of requests without a response. At this number the client is not read.
const MAX_UNANSWERED: usize = 1024;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The upstream that requests go to and responses come from.
    pub(super) current: Current,
    /// The client's side.
    pub(super) sending: Sending,
    /// The upstream's side.
    receiving: Receiving,
    /// Number of requests sent to the current upstream whose response has not passed.
    unanswered: usize,
    /// The app could not be reached. Only a whole head helps now: a rule may want the request.
    is_app_down: bool,
}

/// The upstream that requests go to and responses come from. There is at most one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Current {
    /// None: no response is due, and the app has no connection. The last target is watched, since
    /// it may close its idle connection.
    None,
    /// The app, which gave the last response or is the only upstream so far. Its end is the
    /// client's end, also between responses.
    App,
    /// The app, after a target gave the last response. To the client this connection was not idle,
    /// so the client does not see how it ends.
    SpareApp,
    /// The target that was opened or reused last.
    Target,
}

/// What happens to the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// Nothing is sent until a whole request head has arrived.
    Between,
    /// The head of a request was sent; its body is being sent.
    Body,
    /// All bytes are sent. They follow the last request, which went to the app.
    AfterLast,
    /// `Next` waits until all responses due have passed.
    Turn(Next),
    /// `Next` waits until its upstream is connected.
    Dial(Next),
    /// The response to Upgrade or CONNECT decides what follows.
    Answer,
    /// Nothing more is sent. The last request went to a target, and other requests are not for it.
    Stopped,
    /// The bytes that follow can't be framed. The app gets them by a pipe.
    Unframed(Reason),
}

/// What waits for its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A request for a rule's target.
    Target,
    /// A request for the app.
    App,
    /// No whole request. The app is dialled so that its time-outs apply to the client.
    Idle,
    /// Bytes that can't be framed, which the app gets.
    Unframed(Reason),
}

/// What happens to the upstream's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiving {
    /// Responses pass.
    Framed,
    /// The end of a target's response is in doubt. All further bytes pass as part of it.
    InDoubt,
    /// The target's last response has passed. The target still gets the content of its request.
    Last,
    /// The client gets no more bytes of any upstream. Its connection is closed when it has taken
    /// the last ones.
    Over,
}

// === impl State ===

impl State {
    pub(super) fn new(has_app: bool) -> Self {
        Self {
            current: if has_app { Current::App } else { Current::None },
            sending: Sending::Between,
            receiving: Receiving::Framed,
            unanswered: 0,
            is_app_down: false,
        }
    }

    /// Moves to the next state, and returns the action to take.
    pub(super) fn on(&mut self, event: Event) -> Action {
        match event {
            Event::Client(event) => self.on_client(event),
            Event::Turn(event) => self.on_turn(event),
            Event::Upstream(event) => self.on_upstream(event),
            Event::Farewell => self.on_farewell(),
        }
    }

    /// Whether bytes of the client can be sent.
    pub(super) fn sends(&self) -> bool {
        matches!(self.sending, Sending::Between | Sending::Body | Sending::AfterLast)
            && !self.is_blocked()
    }

    /// Whether the app can get bytes about which nothing is decided.
    pub(super) fn may_give(&self) -> bool {
        match self.sending {
            Sending::Between if self.current == Current::None => self.is_app_down,
            Sending::Between | Sending::Answer => self.is_app_current() && !self.is_blocked(),
            Sending::Body
            | Sending::AfterLast
            | Sending::Turn(_)
            | Sending::Dial(_)
            | Sending::Stopped
            | Sending::Unframed(_) => false,
        }
    }

    /// Whether nothing can be sent before the upstream's side goes on.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_over() || self.unanswered >= MAX_UNANSWERED
    }

    /// Whether the client gets no more bytes.
    pub(super) fn is_over(&self) -> bool {
        self.receiving == Receiving::Over
    }

    /// Whether a response is due.
    pub(super) fn is_response_due(&self) -> bool {
        self.unanswered > 0
    }

    /// Whether the target has received whole requests and given all responses. How it goes on, for
    /// example by closing its connection, does not concern the client any more.
    pub(super) fn is_target_done(&self) -> bool {
        self.current == Current::Target
            && !self.is_response_due()
            && self.is_between_requests()
            && !self.is_over()
    }

    /// Whether no request is under way, as far as the bytes tell that were read.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_response_due()
            && self.receiving == Receiving::Framed
            && matches!(
                self.sending,
                Sending::Between | Sending::Turn(Next::Idle) | Sending::Dial(Next::Idle)
            )
    }

    fn is_between_requests(&self) -> bool {
        match self.sending {
            Sending::Between
            | Sending::Turn(_)
            | Sending::Dial(_)
            | Sending::Answer
            | Sending::Unframed(_) => true,
            Sending::Body | Sending::AfterLast | Sending::Stopped => false,
        }
    }

    fn is_sending_content(&self) -> bool {
        matches!(self.sending, Sending::Body | Sending::AfterLast)
    }

    fn is_app_current(&self) -> bool {
        matches!(self.current, Current::App | Current::SpareApp)
    }

    /// Events of the client's side.
    fn on_client(&mut self, event: ClientEvent) -> Action {
        match event {
            ClientEvent::Head(owner) => self.on_head(owner),
            ClientEvent::End { after, has_length } => {
                if self.receiving == Receiving::Last {
                    self.receiving = Receiving::Over;
                }
                self.sending = match (after, self.current) {
                    (After::Keep, _) => Sending::Between,
                    // The response came before the request was complete, and declined.
                    (After::Upgrade | After::Connect, _) if !self.is_response_due() => {
                        Sending::Between
                    }
                    (After::Upgrade | After::Connect, _) => Sending::Answer,
                    (After::Close, Current::Target) if has_length => Sending::Stopped,
                    (After::Close, _) => Sending::AfterLast,
                };
                Action::Continue
            }
            ClientEvent::Doubt(reason) if self.sending == Sending::Body => {
                Action::HandOff(HandOff::piped(Piped::Request(reason)))
            }
            // A pipe to the app keeps the order by itself.
            ClientEvent::Doubt(reason) if self.is_app_current() => {
                self.sending = Sending::Unframed(reason);
                Action::Continue
            }
            ClientEvent::Doubt(reason) => {
                self.sending = Sending::Turn(Next::Unframed(reason));
                Action::Continue
            }
            ClientEvent::PartialHead => {
                if self.current == Current::None && !self.is_over() && !self.is_app_down {
                    self.need_app();
                }
                Action::Continue
            }
            // Now there may be a request, and it need not be the app's.
            ClientEvent::Spoke if self.sending == Sending::Dial(Next::Idle) => {
                self.sending = Sending::Between;
                Action::LeaveDial
            }
            ClientEvent::Spoke => Action::Wait,
            ClientEvent::Silent if !self.may_give() => Action::Wait,
            ClientEvent::Silent if self.is_app_down => Action::HandOff(HandOff::UpstreamBroke),
            ClientEvent::Silent => {
                self.current = Current::App;
                Action::Give
            }
            ClientEvent::Ended { left } => self.on_client_end(left),
        }
    }

    /// A request head: it is sent if its upstream is current, or else waits for its turn.
    fn on_head(&mut self, owner: Owner) -> Action {
        match (owner, self.current) {
            (Owner::CurrentTarget, Current::Target) => {}
            (Owner::App, Current::App | Current::SpareApp) => self.current = Current::App,
            (Owner::App, _) => {
                self.sending = Sending::Turn(Next::App);
                return Action::Wait;
            }
            (Owner::CurrentTarget | Owner::OtherTarget, _) => {
                self.sending = Sending::Turn(Next::Target);
                return Action::Wait;
            }
        }
        self.unanswered += 1;
        self.sending = Sending::Body;
        Action::Send
    }

    /// FIN of the client. A pipe meets the same FIN, and passes it on.
    fn on_client_end(&mut self, left: bool) -> Action {
        let is_target = self.current == Current::Target;
        match self.sending {
            Sending::Answer if !left || !is_target => Action::HandOff(HandOff::PIPE),
            Sending::Stopped if !left => Action::HandOff(HandOff::PIPE),
            // What is left is not for this target, which may take long to respond.
            Sending::Answer | Sending::Stopped | Sending::Turn(_) | Sending::Dial(_)
                if is_target =>
            {
                Action::FinishTarget
            }
            _ if !self.sends() => Action::Wait,
            // The beginning of a request that is not complete is the app's.
            _ if is_target && left => {
                self.sending = Sending::Turn(Next::Idle);
                Action::Continue
            }
            _ if self.current == Current::None && self.is_app_down && left => {
                Action::HandOff(HandOff::UpstreamBroke)
            }
            _ if self.current == Current::None => {
                self.receiving = Receiving::Over;
                Action::Continue
            }
            _ => Action::HandOff(HandOff::PIPE),
        }
    }

    /// Events of the next request on its way to an upstream.
    fn on_turn(&mut self, event: TurnEvent) -> Action {
        match event {
            TurnEvent::TargetDone { is_app_open } => {
                self.is_app_down = false;
                self.current = Current::without_target(is_app_open);
                Action::Continue
            }
            TurnEvent::TargetClosed { is_app_open } => {
                *self = Self {
                    current: Current::without_target(is_app_open),
                    sending: Sending::Turn(Next::App),
                    receiving: Receiving::Framed,
                    unanswered: 0,
                    is_app_down: false,
                };
                Action::Continue
            }
            TurnEvent::Examined => self.on_turn_examined(),
            TurnEvent::TargetOpen => {
                self.current = Current::Target;
                self.sending = Sending::Between;
                Action::Continue
            }
            TurnEvent::FellBack => {
                self.sending = Sending::Turn(Next::App);
                Action::Continue
            }
            TurnEvent::AppOpen => {
                self.current = Current::App;
                self.sending = self.sending.with_app();
                self.is_app_down = false;
                Action::Continue
            }
            // An idle connection ends in order.
            TurnEvent::AppFailed { left: false } if self.sending == Sending::Dial(Next::Idle) => {
                self.receiving = Receiving::Over;
                Action::Continue
            }
            // A rule may want the request that has begun.
            TurnEvent::AppFailed { left: true } if self.sending == Sending::Dial(Next::Idle) => {
                self.sending = Sending::Between;
                self.is_app_down = true;
                Action::Continue
            }
            TurnEvent::AppFailed { .. } => Action::HandOff(HandOff::UpstreamBroke),
        }
    }

    fn on_turn_examined(&mut self) -> Action {
        let Sending::Turn(next) = self.sending else { return Action::Continue };
        match next {
            // Where the response ends is in doubt. The client, which goes on, has seen its end.
            _ if self.receiving == Receiving::InDoubt => {
                self.receiving = Receiving::Over;
                Action::Wait
            }
            _ if self.is_response_due() => Action::Wait,
            Next::Target => {
                self.sending = Sending::Dial(next);
                Action::OpenTarget
            }
            _ if self.is_app_current() => {
                self.sending = self.sending.with_app();
                Action::Continue
            }
            _ => {
                self.sending = Sending::Dial(next);
                Action::DialApp
            }
        }
    }

    /// Events of the upstream's side.
    fn on_upstream(&mut self, event: UpstreamEvent) -> Action {
        match (event, self.current) {
            // Before the request is complete, its content is in front of the frames.
            (UpstreamEvent::SwitchedToHttp2, Current::App) if self.sending == Sending::Answer => {
                Action::HandOff(HandOff::Http2)
            }
            (UpstreamEvent::Switched | UpstreamEvent::SwitchedToHttp2, _) => {
                Action::HandOff(HandOff::piped(Piped::Tunnel))
            }
            (UpstreamEvent::UntilClose, Current::Target) => Action::Continue,
            (UpstreamEvent::UntilClose, _) => Action::HandOff(HandOff::PIPE),
            (UpstreamEvent::End { after, request }, _) => self.on_response_end(after, request),
            (UpstreamEvent::Doubt(reason), Current::Target) if self.sending != Sending::Answer => {
                self.receiving = Receiving::InDoubt;
                Action::Count(Piped::Response(reason))
            }
            // An answer to Upgrade or CONNECT that can't be framed concerns these two only.
            (UpstreamEvent::Doubt(reason), _) => {
                Action::HandOff(HandOff::piped(Piped::Response(reason)))
            }
            (UpstreamEvent::Unasked, Current::App) => {
                Action::HandOff(HandOff::piped(Piped::ServerSpoke))
            }
            (UpstreamEvent::Ended, Current::App) => Action::HandOff(HandOff::PIPE),
            // As servers do with idle connections.
            (UpstreamEvent::Unasked | UpstreamEvent::Ended, Current::SpareApp) => {
                self.current = Current::None;
                Action::DropApp
            }
            (UpstreamEvent::Unasked | UpstreamEvent::Ended, Current::Target) => {
                self.receiving = Receiving::Over;
                Action::Continue
            }
            // How long the client may be idle is now for the app to decide.
            (
                UpstreamEvent::Unasked | UpstreamEvent::Ended | UpstreamEvent::Broke,
                Current::None,
            ) => {
                self.need_app();
                Action::DropTargets
            }
            (UpstreamEvent::Broke, _) => Action::HandOff(HandOff::UpstreamBroke),
        }
    }

    fn on_response_end(&mut self, after: After, request: After) -> Action {
        self.unanswered = self.unanswered.saturating_sub(1);
        // Upgrade or CONNECT was declined: what follows is the next request.
        if self.sending == Sending::Answer && matches!(request, After::Upgrade | After::Connect) {
            self.sending = Sending::Between;
        }
        match (after, self.current) {
            // The client treats further requests as unread (RFC 9112, section 9.6), so no other
            // upstream may get them. The app's FIN is still to come.
            (After::Close, Current::App) => Action::HandOff(HandOff::PIPE),
            // The target's FIN is not awaited: the target has no further response to give.
            // A server that refuses an upload decides how long it reads on.
            (After::Close, Current::Target) if self.is_sending_content() => {
                self.receiving = Receiving::Last;
                Action::Continue
            }
            (After::Close, Current::Target) => {
                self.receiving = Receiving::Over;
                Action::Continue
            }
            _ => Action::Continue,
        }
    }

    /// The daemon ends, and the client has sent no byte of a further request.
    fn on_farewell(&mut self) -> Action {
        if self.is_idle() {
            self.receiving = Receiving::Over;
        }
        Action::Continue
    }

    /// The app is needed although there is no whole request.
    fn need_app(&mut self) {
        if self.sending == Sending::Between {
            self.sending = Sending::Turn(Next::Idle);
        }
    }
}

// === impl Current ===

impl Current {
    fn without_target(is_app_open: bool) -> Self {
        if is_app_open { Self::SpareApp } else { Self::None }
    }
}

// === impl Sending ===

impl Sending {
    /// What waited for the app goes on.
    fn with_app(self) -> Self {
        match self {
            Self::Turn(Next::Unframed(reason)) | Self::Dial(Next::Unframed(reason)) => {
                Self::Unframed(reason)
            }
            _ => Self::Between,
        }
    }
}

#[cfg(test)]
mod tests;
