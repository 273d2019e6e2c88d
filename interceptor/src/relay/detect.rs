//! Detects the protocol of a connection to a port whose rules depend on what the client sends.
//!
//! To the left: [`serve`](super::serve), for rules that can't decide by addresses alone. To the
//! right: a target, the app, or [`http1`] and [`http2`], which route each request by itself.
//!
//! Most of this traffic is the app's, and must not notice:
//! - Usually the client's first bytes have arrived when the connection is accepted. The rules are
//!   evaluated first then, and the app is dialled only if it gets something.
//! - Otherwise the app is dialled at once, and the first bytes of either side decide. No clock
//!   does: the app may send first, and gets a plain pipe then.
//! - A client that speaks neither HTTP nor TLS gets a plain pipe to the app.
//! - TLS shows the server name and hides the rest.
//! - A PROXY protocol header is looked through: each upstream gets it first. It changes nothing
//!   that a rule sees; `source.address` stays the peer's.

use interceptor_condition::Needs;
use interceptor_wire::{Opening, Parsed, Reason, hello, http1::MAX_HEAD, opening, proxy};

use super::{
    dial::Ack,
    http1, http2,
    pipe::Before,
    select::Choice,
    stats::{Outcome, Piped},
    stolen::Stolen,
    stream::Stream,
    upstream::Upstream,
};

/// Maximum number of bytes without an answer from [`opening()`]: the client sends only empty lines.
const MAX_OPENING: usize = 1024;
/// Capacity for the first bytes of most clients, in bytes.
const USUAL_OPENING: usize = 2048;
/// Maximum number of bytes that are examined of what an app sends before the client does.
const APP_OPENING: usize = 64;

/// The protocol of a connection.
enum Detected {
    Http1,
    Http2,
    /// TLS, with the server name of the ClientHello if it has one.
    Tls(Option<Box<str>>),
    /// Neither HTTP nor TLS, or the app sent first.
    Other(Piped),
    /// The client or the app ended before. A pipe passes that end on.
    Ended,
}

/// What an app did before the client sent anything that decides.
enum AppFirst {
    /// It sent bytes that may be its SETTINGS: some servers open HTTP/2 before the client does.
    MaybeHttp2,
    /// It sent something else.
    Other,
    /// It ended.
    Ended,
}

/// Serves a connection until its end.
pub async fn serve(mut stolen: Stolen) {
    let mut received = Vec::with_capacity(USUAL_OPENING);
    let Some((detected, app)) = detect(&mut stolen, &mut received).await else { return };
    let choice = choose(&stolen, &detected);
    // After the preface of HTTP/2 alone, the client sends the next bytes.
    let sends_at_once = !received.is_empty() && !matches!(detected, Detected::Http2);
    let ack = if sends_at_once { Ack::Delayed } else { Ack::Immediate };
    let mut failure: Option<(_, Outcome)> = None;
    match (&choice, &detected) {
        (Choice::Target(route), _) => match stolen.dial(route, ack).await {
            Ok(target) => {
                stolen.reached(route);
                return stolen.hand_over(route, &target, received).await;
            }
            Err(error) => failure = Some((route, error.into())),
        },
        (Choice::Later, Detected::Http1) => return http1::serve(&stolen, app, received).await,
        (_, Detected::Tls(_)) => stolen.record.pipe(Piped::Tls),
        (_, Detected::Other(why)) => stolen.record.pipe(*why),
        (_, Detected::Http1 | Detected::Http2 | Detected::Ended) => {}
    }
    let app = match app {
        Some(app) => app,
        None => match stolen.app_or_refuse(ack).await {
            Some(app) => app,
            None => return,
        },
    };
    if let Some((route, outcome)) = failure {
        stolen.failed(route, outcome);
    }
    match (&choice, detected) {
        // Boxed: HTTP/1 needs less memory.
        (Choice::Later, Detected::Http2) => Box::pin(http2::serve(&stolen, &app, received)).await,
        _ => stolen.pass_on(&app, Before { up: received, ..Before::default() }).await,
    }
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

/// Detects the protocol, and appends what was read of the client to `received`, without a PROXY
/// header. Returns the app's connection if the client sent too little by the time that it was
/// accepted.
async fn detect(
    stolen: &mut Stolen,
    received: &mut Vec<u8>,
) -> Option<(Detected, Option<Upstream>)> {
    let read = stolen.client.read_now(received, MAX_HEAD);
    if let (Ok(()), Some(detected)) = (&read, examine(stolen, received)) {
        return Some((detected, None));
    }
    let app = stolen.app_or_refuse(Ack::Immediate).await?;
    if read.is_err() {
        // The client is gone already. The app sees a connection that is reset, as without the
        // relay.
        app.stream.reset_on_close();
        return None;
    }
    let detected = first_bytes(stolen, &app.stream, received).await;
    Some((detected, Some(app)))
}

/// Reads from the client until its protocol is known, unless the app sends or ends before.
async fn first_bytes(stolen: &mut Stolen, app: &Stream, received: &mut Vec<u8>) -> Detected {
    let mut app_may_speak_http2 = false;
    loop {
        tokio::select! {
            biased;
            read = stolen.client.read_more(received) => match read {
                Ok(0) | Err(_) => return Detected::Ended,
                Ok(_) => {}
            },
            first = AppFirst::of(app), if !app_may_speak_http2 => match first {
                // The client has not waited for it: its own first bytes are on their way.
                AppFirst::MaybeHttp2 => app_may_speak_http2 = true,
                AppFirst::Other => return Detected::Other(Piped::ServerSpoke),
                AppFirst::Ended => return Detected::Ended,
            },
        }
        let had_header = !stolen.proxy_header.is_empty();
        let detected = examine(stolen, received);
        // At once: a server that speaks first waits for the header.
        if !had_header && app.write_all(&stolen.proxy_header).await.is_err() {
            return Detected::Ended;
        }
        if let Some(detected) = detected {
            return detected;
        }
    }
}

/// The protocol of a client that sent `received`, behind its PROXY header. A complete header moves
/// from `received` to `stolen`. None if more bytes are needed.
fn examine(stolen: &mut Stolen, received: &mut Vec<u8>) -> Option<Detected> {
    if stolen.proxy_header.is_empty() && opening(received) == Opening::Proxy {
        match proxy::header(received) {
            Parsed::Partial => return None,
            Parsed::Complete { len, .. } => stolen.proxy_header = received.drain(..len).collect(),
            Parsed::Unframed(reason) => return Some(Detected::Other(Piped::Request(reason))),
        }
    }
    Detected::by_client(received)
}

// === impl Detected ===

impl Detected {
    /// The protocol of a client that sent these bytes. None if more are needed.
    fn by_client(received: &[u8]) -> Option<Self> {
        Some(match opening(received) {
            Opening::Undecided if received.len() < MAX_OPENING => return None,
            Opening::Undecided => Self::Other(Piped::Request(Reason::HeadTooLong)),
            Opening::Http1 => Self::Http1,
            Opening::Http2Preface => Self::Http2,
            // A second PROXY header is none of a request.
            Opening::Proxy | Opening::Other => Self::Other(Piped::Request(Reason::NotHttp)),
            Opening::Tls => match hello::client_hello(received) {
                Parsed::Partial => return None,
                Parsed::Complete { head, .. } => Self::Tls(head.server_name.map(Box::from)),
                Parsed::Unframed(reason) => Self::Other(Piped::Request(reason)),
            },
        })
    }
}

// === impl AppFirst ===

impl AppFirst {
    /// Waits for the app to send or to end.
    async fn of(app: &Stream) -> Self {
        let look = |head: &[u8]| match head {
            [] => Self::Ended,
            head if http2::may_begin(head) => Self::MaybeHttp2,
            _ => Self::Other,
        };
        app.peek(APP_OPENING, look).await.unwrap_or(Self::Ended)
    }
}
