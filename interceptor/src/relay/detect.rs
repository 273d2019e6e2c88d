//! Detects the protocol of a connection to a port whose rules depend on what the client sends.
//!
//! To the left: [`serve`](super::serve), for rules that can't decide by addresses alone. To the
//! right: a target, the app, or [`http1`] and [`http2`], which route each request by itself.
//!
//! Most of this traffic is the app's, and must not notice:
//! - Usually the client's first bytes have arrived when the connection is accepted. The rules are
//!   evaluated first then, and the app is dialled only if it gets something.
//! - Otherwise the app is dialled at once, and the first bytes of either side decide. The app may
//!   send first, and gets a plain pipe then.
//! - A client that speaks neither HTTP nor TLS gets a plain pipe to the app.
//! - A client may fall silent before its protocol is known. Then the app gets what has arrived
//!   ([`Hold`](super::hold::Hold)). HTTP requests that begin later are still decided.
//! - If the app refuses, a rule may still want the connection. The client's first bytes are awaited
//!   for the same time before the client is refused.
//! - TLS shows the server name and hides the rest.
//! - A PROXY protocol header is looked through: each upstream gets it first. It changes nothing
//!   that a rule sees; `source.address` stays the peer's.

mod detected;
mod first_bytes;

use interceptor_condition::Needs;

use self::{detected::Detected, first_bytes::First};
use super::{
    dial::Ack,
    http1, http2,
    pipe::Before,
    received::Received,
    select::Choice,
    stats::{Outcome, Piped},
    stolen::Stolen,
    upstream::Upstream,
};

/// Serves a connection until its end.
pub async fn serve(mut stolen: Stolen) {
    let Some(First { detected, app, bytes }) = first_bytes::of(&mut stolen).await else {
        return;
    };
    if bytes.has_given() {
        return serve_given(&stolen, detected, app, bytes).await;
    }
    let choice = choose(&stolen, &detected);
    // After the preface of HTTP/2 alone, the client sends the next bytes.
    let sends_at_once = !bytes.is_empty() && !matches!(detected, Detected::Http2);
    let ack = if sends_at_once { Ack::Delayed } else { Ack::Immediate };
    let mut failure: Option<(_, Outcome)> = None;
    match (&choice, &detected) {
        (Choice::Target(route), _) => match stolen.dial(route, ack).await {
            Ok(target) => {
                stolen.reached(route);
                return stolen.hand_over(route, &target, bytes.into_rest()).await;
            }
            Err(error) => failure = Some((route, error.into())),
        },
        (Choice::Later, Detected::Http1) => return http1::serve(&stolen, app, bytes).await,
        (_, Detected::Tls(_)) => stolen.record.pipe(Piped::Tls),
        (_, Detected::Other(why)) => stolen.record.pipe(*why),
        (_, Detected::Http1 | Detected::Http2 | Detected::Ended) => {}
    }
    let app = match app {
        Some(app) => app,
        None => match (stolen.dial_app(ack).await, &choice, &detected) {
            (Ok(app), ..) => app,
            (Err(error), Choice::Later, Detected::Http2) => {
                let received = bytes.into_rest();
                return Box::pin(http2::serve_without_app(&stolen, error, received)).await;
            }
            (Err(error), ..) => return stolen.refuse(error),
        },
    };
    if let Some((route, outcome)) = failure {
        stolen.failed(route, outcome);
    }
    match (&choice, detected) {
        // Boxed: HTTP/1 needs less memory.
        (Choice::Later, Detected::Http2) => Box::pin(http2::serve(&stolen, &app, bytes)).await,
        _ => stolen.pass_on(&app, Before { up: bytes.into_rest(), ..Before::default() }).await,
    }
}

/// Serves a connection whose first bytes the app has got before its protocol was known.
async fn serve_given(stolen: &Stolen, detected: Detected, app: Option<Upstream>, bytes: Received) {
    // It is open: it has got bytes.
    let Some(app) = app else { return };
    match detected {
        // Later requests may be for a target.
        Detected::Http1 => return http1::serve(stolen, Some(app), bytes).await,
        Detected::Http2 => return Box::pin(http2::serve(stolen, &app, bytes)).await,
        Detected::Tls(_) => stolen.record.pipe(Piped::Tls),
        Detected::Other(why) => stolen.record.pipe(why),
        Detected::Ended => {}
    }
    let before = Before { up: bytes.into_rest(), ..Before::default() };
    stolen.pass_on(&app, before).await;
}

/// Asks the rules. Of a connection that is not HTTP, they will learn no more.
fn choose(stolen: &Stolen, detected: &Detected) -> Choice {
    match detected {
        Detected::Http1 | Detected::Http2 => stolen.choose(Some(""), Needs::ServerName),
        Detected::Tls(name) => {
            stolen.choose(Some(name.as_deref().unwrap_or_default()), Needs::Request)
        }
        Detected::Other(_) => stolen.choose(Some(""), Needs::Request),
        Detected::Ended => Choice::App,
    }
}
