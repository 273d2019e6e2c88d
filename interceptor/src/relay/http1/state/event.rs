//! What may happen on a connection, and what the exchange does then.

use interceptor_wire::{Reason, http1::After};

use crate::relay::stats::Piped;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay::http1) enum Event {
    /// The client's bytes.
    Client(ClientEvent),
    /// The next request on its way to an upstream.
    Turn(TurnEvent),
    /// The current upstream's bytes, or those of an idle target.
    Upstream(UpstreamEvent),
    /// The daemon ends. The client has sent no byte of a further request.
    Farewell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay::http1) enum ClientEvent {
    /// A request head is complete.
    Head(Owner),
    /// A request that was sent is complete. `has_length`: it declared where its content ends.
    End { after: After, has_length: bool },
    /// What follows can't be framed.
    Doubt(Reason),
    /// A request head has begun and is not complete.
    PartialHead,
    /// Bytes arrived while nothing was sent.
    Spoke,
    /// The client has been silent for too long within bytes about which nothing is decided.
    Silent,
    /// The client has sent FIN. `left`: some of its bytes are not sent.
    Ended { left: bool },
}

/// The upstream that a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay::http1) enum Owner {
    App,
    /// The target that is current.
    CurrentTarget,
    OtherTarget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay::http1) enum TurnEvent {
    /// The current target is done (`State::is_target_done`). `is_app_open`: the app's connection is
    /// still open.
    TargetDone { is_app_open: bool },
    /// The exchange checks whether the next request's turn has come (`Sending::Turn`).
    Examined,
    /// The target is connected, or its open connection is reused. The request that waited for it is
    /// the next event.
    TargetOpen,
    /// The target can't be reached, or its rule ended: the app gets the request.
    FellBack,
    /// The target closed its new connection at once, and the app gets what the target got.
    /// `is_app_open`: the app's connection is still open.
    TargetClosed { is_app_open: bool },
    /// The app is connected.
    AppOpen,
    /// The app can't be reached. `left`: some of the client's bytes are not sent.
    AppFailed { left: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay::http1) enum UpstreamEvent {
    /// A response head that agrees to Upgrade or CONNECT passed.
    Switched,
    /// The same, and HTTP/2 follows.
    SwitchedToHttp2,
    /// A response head whose body ends with the connection passed.
    UntilClose,
    /// A response is complete.
    End {
        /// What follows the response.
        after: After,
        /// What follows the request that it belongs to.
        request: After,
    },
    /// The end of the response is in doubt.
    Doubt(Reason),
    /// Bytes arrived and no response is due.
    Unasked,
    /// FIN.
    Ended,
    /// The connection failed.
    Broke,
}

/// What the exchange does after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay::http1) enum Action {
    /// Nothing.
    Continue,
    /// Sends the request head to the current upstream.
    Send,
    /// Sends the app the bytes about which nothing is decided.
    Give,
    /// Keeps the client's bytes for later.
    Wait,
    /// Opens the target of the next request: reuses an open connection or dials.
    OpenTarget,
    /// Dials the app.
    DialApp,
    /// Waits no longer for the dial to the app.
    LeaveDial,
    /// Sends FIN to the target, which then gets no further request.
    FinishTarget,
    /// Closes the app's connection. The next request for the app dials it again.
    DropApp,
    /// Closes the connections of all targets.
    DropTargets,
    /// Counts why framing ended, and goes on.
    Count(Piped),
    /// Ends framing.
    HandOff(HandOff),
}

/// How framing ends, and who takes over: see `hand_off.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay::http1) enum HandOff {
    /// The rest of the connection is a pipe between the client and the current upstream.
    Pipe {
        why: Option<Piped>,
        /// A write to the upstream met a reset.
        was_reset: bool,
    },
    /// The client's connection failed. The upstreams' connections fail, too.
    ClientBroke,
    /// The connection from which the client expects a response failed. The client's connection
    /// fails, too.
    UpstreamBroke,
    /// The rest of the connection is HTTP/2 between the client and the app.
    Http2,
    /// There is no upstream left for the client. Its connection is closed in order.
    Close,
}

// === impl HandOff ===

impl HandOff {
    pub(in crate::relay::http1) const PIPE: Self = Self::Pipe { why: None, was_reset: false };

    pub(in crate::relay::http1) fn piped(why: Piped) -> Self {
        Self::Pipe { why: Some(why), was_reset: false }
    }
}
