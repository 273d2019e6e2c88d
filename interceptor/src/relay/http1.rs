//! HTTP/1 on a connection whose requests may go to different upstreams.
//!
//! The client sees one connection to one server. Behind it are at most one connection to the app
//! and one to the target of each rule. Bytes pass unchanged and in order.
//!
//! ```text
//! client --> sending.rs   --> app | target    finds each request and its upstream
//!                turn.rs                      reuses or dials the upstream of the next request
//! client <-- receiving.rs <-- app | target    finds the end of each response
//! ```
//!
//! `state.rs` decides what each event means, as one pure function ([`state::State::on`]).
//! `exchange.rs` runs both directions and does what that function says. `hand_off.rs` takes over
//! when framing ends.
//!
//! # One upstream at a time
//!
//! Responses keep the order of their requests. So one upstream is *current*: requests go to it, and
//! its responses pass. A request for another upstream waits until all responses that are due have
//! passed.
//!
//! - The app is dialled for its first request, when a request head arrives incomplete, or when no
//!   other upstream is left. When the app then ends its connection, the client's ends the same way.
//!   The exception is an app that was idle while a target served the client (`SpareApp`): the
//!   client sees no FIN of it.
//! - A target is dialled for the first request of its rule, and kept for further ones. If it can't
//!   be reached, the app gets the request. The same holds if the target closes a new connection at
//!   once (`repeat.rs`).
//!
//! ```mermaid
//! stateDiagram-v2
//!     [*] --> None: the client spoke first
//!     [*] --> App: the app was dialled before the client spoke
//!     None --> App: a request for the app, or no whole request
//!     None --> Target: a request for a rule
//!     App --> Target: a request for a rule
//!     Target --> SpareApp: all responses have passed
//!     Target --> None: all responses have passed, and the app has no connection
//!     SpareApp --> App: a request for the app
//!     SpareApp --> Target: a request for a rule
//!     SpareApp --> None: the app closes
//!     App --> [*]: pipe, or the app ends
//!     Target --> [*]: pipe, or the target ends
//! ```
//!
//! # Events and actions
//!
//! The names are those of `state.rs` and `state/event.rs`, which explain each. `Turn(Idle)` and
//! `Over` are the next state of the client's and of the upstream's side. "Pipe" means
//! [`HandOff::Pipe`](state::HandOff::Pipe): the relay stops framing, and passes the rest between
//! the client and the current upstream. After a FIN or RST, the pipe meets it again and passes it
//! on.
//!
//! The upstream's side, by current upstream. With `None`, the relay watches the target that was
//! used last:
//!
//! ```text
//! event                    | None            | App           | SpareApp      | Target
//! -------------------------+-----------------+---------------+---------------+--------------------
//! response agrees to       |                 | Pipe          |               | Pipe
//!   Upgrade or CONNECT     |                 |               |               |
//! the same, to HTTP/2      |                 | Http2; Pipe   |               | Pipe
//!                          |                 |   unless      |               |
//!                          |                 |   Answer      |               |
//! response until close     |                 | Pipe          |               | passes
//! response ends            |                 | passes        |               | passes
//! last response ends       |                 | Pipe          |               | Over; Last while
//!                          |                 |               |               |   content is sent
//! response in doubt        |                 | Pipe          |               | Count, InDoubt;
//!                          |                 |               |               |   Pipe if Answer
//! bytes, no response due   | DropTargets,    | Pipe          | DropApp, None | Over
//!                          |   Turn(Idle)    |               |               |
//! FIN                      | DropTargets,    | Pipe          | DropApp, None | Over
//!                          |   Turn(Idle)    |               |               |
//! RST                      | DropTargets,    | UpstreamBroke | UpstreamBroke | UpstreamBroke
//!                          |   Turn(Idle)    |               |               |
//! write to it fails        |                 | Pipe          |               | Pipe
//! ```
//!
//! The client's side, by [`Sending`](state::Sending):
//!
//! ```text
//! event                    | state                          | action          | next state
//! -------------------------+--------------------------------+-----------------+------------------
//! head for the current one | Between                        | Send            | Body
//! head for another one     | Between                        | Wait            | Turn
//! request ends             | Body                           |                 | Between
//!   with Upgrade, CONNECT  | Body, a response is due        |                 | Answer
//!                          | Body, no response is due       |                 | Between
//!   with close             | Body; App, or no length        |                 | AfterLast
//!                          | Body, Target                   |                 | Stopped
//!   after Last             | Body                           |                 | Over
//! Upgrade is declined      | Answer                         |                 | Between
//! doubt in a head          | Between, App or SpareApp       |                 | Unframed: Pipe
//!                          | Between, None or Target        |                 | Turn(Unframed)
//! doubt in a body          | Body                           | Pipe            |
//! head not complete        | Between, None                  |                 | Turn(Idle)
//! silence within a head    | Between, App or SpareApp       | Give            | App
//!                          | Between, None; app is down     | UpstreamBroke   |
//! silence, bytes held      | Answer, App                    | Give            |
//! bytes                    | Dial(Idle)                     | LeaveDial       | Between
//!                          | Turn, Dial, Answer, Stopped    | Wait            |
//! FIN, all bytes sent      | Answer, Stopped                | Pipe            |
//!                          | Between, Body, AfterLast       | Pipe            |
//!                          | Between, None                  |                 | Over
//! FIN, some bytes left     | Answer, App                    | Pipe            |
//!                          | Answer, Stopped; Target        | FinishTarget    |
//!                          | Between, Target                |                 | Turn(Idle)
//! FIN                      | Turn, Dial; Target             | FinishTarget    |
//!                          | Turn, Dial; otherwise          | Wait            |
//! RST, write to it fails   | any                            | ClientBroke     |
//! farewell                 | Between, Turn or Dial(Idle);   |                 | Over
//!                          |   no response is due           |                 |
//! ```
//!
//! "Farewell" is the end of the daemon, while the client has sent no byte of a further request. It
//! comes right behind a response, whose last segment carries the FIN, or a second after SIGTERM.
//!
//! The next request on its way to an upstream:
//!
//! ```text
//! event                    | state                          | action          | next state
//! -------------------------+--------------------------------+-----------------+------------------
//! all responses passed     | Target                         |                 | SpareApp or None
//! examined                 | Turn, a response is due        | Wait            |
//!                          | Turn, InDoubt                  | Wait            | Over
//!                          | Turn(Target)                   | OpenTarget      | Dial(Target)
//!                          | Turn(others), App or SpareApp  |                 | Between, Unframed
//!                          | Turn(others), None             | DialApp         | Dial
//! target is open           | Dial(Target)                   |                 | Target, Between
//! target fails, rule ends  | Dial(Target)                   |                 | Turn(App)
//! target closes at once,   | any                            |                 | SpareApp or None,
//!   requests in hand       |                                |                 |   Turn(App)
//! app is open              | Dial                           |                 | App, Between,
//!                          |                                |                 |   Unframed
//! app fails                | Dial(Idle), all bytes sent     |                 | Over
//!                          | Dial(Idle), otherwise          |                 | Between
//!                          | Dial, otherwise                | UpstreamBroke   |
//! ```
//!
//! # A client that falls silent
//!
//! No rule can decide before a head is complete, so its beginning is held. A client that falls
//! silent within a head may not speak HTTP. After a while ([`Hold`](super::hold::Hold)) the app
//! gets what is held, and the rest as it arrives (`Give`). The request is the app's, whatever it
//! says. Later requests are decided. The same holds for bytes behind Upgrade or CONNECT, about
//! which the response decides.
//!
//! # When a target dies in the middle of a response
//!
//! The client sees the end that it would see of one server that dies. No other upstream gets the
//! request, because the target may have acted on it. The same holds before the first byte of the
//! response, and while the body of the request is being sent. The exception is a new connection
//! with idempotent requests, which the target closes at once.
//!
//! - FIN (row "FIN", column `Target`): the state is `Over`. The client gets all bytes that arrived,
//!   even the beginning of a head, then FIN ([`HandOff::Close`](state::HandOff::Close)).
//! - RST (row "RST"): the client gets all bytes that arrived, then RST
//!   ([`HandOff::UpstreamBroke`](state::HandOff::UpstreamBroke)).
//! - A write to the target fails before its FIN or RST is read: a pipe passes what the target still
//!   sends, and then ends as the target did. Bytes for the target are dropped.
//!
//! Requests that wait for another upstream are dropped with the client's connection, and the app's
//! idle connection is closed. A target that dies while it is idle (column `None`) concerns no
//! client.

mod exchange;
mod farewell;
mod hand_off;
mod in_hand;
mod receiving;
mod repeat;
mod requests;
mod responses;
mod sending;
mod state;
mod turn;
mod upstreams;

use std::collections::VecDeque;

use self::{
    exchange::Exchange, hand_off::Ends, requests::Requests, responses::Responses, state::State,
    upstreams::Upstreams,
};
use super::{received::Received, stolen::Stolen, upstream::Upstream};

/// Serves a connection on which the client speaks HTTP/1, until its end. `received` was read from
/// the client. `app` is the app's connection, if it is open.
pub(super) async fn serve(stolen: &Stolen, app: Option<Upstream>, received: Received) {
    let (mut ends, hand_off) = {
        let mut exchange = Exchange {
            stolen,
            state: State::new(app.is_some()),
            upstreams: Upstreams::new(app),
            sent: VecDeque::new(),
            requests: Requests::new(received),
            responses: Responses::default(),
            in_hand: None,
        };
        let hand_off = exchange.run().await;
        (Ends::of(exchange), hand_off)
    };
    ends.finish(stolen, hand_off).await;
}
