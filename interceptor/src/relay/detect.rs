//! A connection to a port whose rules look at what is sent: most of it is the application's, and
//! must not notice.
//!
//! Unless the caller has spoken by the time that he is accepted, the application's connection is
//! opened at once, and the first byte of either side decides what this is. A server that speaks
//! first, and a caller who speaks neither HTTP nor TLS, get a plain pipe to the application without
//! any wait. TLS shows a name and hides the rest. HTTP goes where each of its requests is wanted.

use interceptor_condition::Needs;
use interceptor_wire::{Opening, Parsed, Reason, hello, http1::MAX_HEAD, opening};

use super::{
    dial::Ack, http1, http2, pipe::Before, select::Choice, stats::Piped, stolen::Stolen,
    stream::Stream, upstream::Upstream,
};

/// A caller who says only empty lines for so long, in bytes, says nothing.
const MAX_OPENING: usize = 1024;

/// What the first bytes on a connection say.
enum Detected {
    Http1,
    Http2,
    /// With the name that the caller asks for, if he does.
    Tls(Option<Box<str>>),
    /// Nothing that could be looked into.
    Other(Piped),
    /// The caller has ended, or the application: a pipe meets that end by itself.
    End,
}

/// Serves a connection until its end.
pub async fn serve(stolen: Stolen) {
    // Most of what callers say first.
    let mut said = Vec::with_capacity(2048);
    let Some((first, app)) = detect(&stolen, &mut said).await else { return };
    let (server_name, known) = match &first {
        Detected::Http1 | Detected::Http2 => ("", Needs::ServerName),
        // Requests are hidden, or there are none: no more will be known.
        Detected::Tls(name) => (name.as_deref().unwrap_or_default(), Needs::Request),
        Detected::Other(_) | Detected::End => ("", Needs::Request),
    };
    let choice = match first {
        Detected::End => Choice::App,
        _ => stolen.choose(Some(server_name), known),
    };
    // With the preface alone, the next word is still the caller's.
    let is_ours = !said.is_empty() && !matches!(first, Detected::Http2);
    let ack = if is_ours { Ack::Delayed } else { Ack::Immediate };
    let mut failure = None;
    match (&choice, &first) {
        (Choice::Target(route), _) => match stolen.dial(route, ack).await {
            Ok(target) => {
                stolen.reached(route);
                return stolen.hand_over(route, &target, said).await;
            }
            Err(error) => failure = Some((route, error.into())),
        },
        (Choice::Later, Detected::Http1) => return http1::serve(&stolen, app, said).await,
        (_, Detected::Tls(_)) => stolen.record.pipe(Piped::Tls),
        (_, Detected::Other(why)) => stolen.record.pipe(*why),
        (_, Detected::Http1 | Detected::Http2 | Detected::End) => {}
    }
    let app = match app {
        Some(app) => app,
        None => match call_app(&stolen, ack).await {
            Some(app) => app,
            None => return,
        },
    };
    if let Some((route, outcome)) = failure {
        stolen.failed(route, outcome);
    }
    match (&choice, first) {
        // Boxed, since HTTP/1 needs less.
        (Choice::Later, Detected::Http2) => Box::pin(http2::serve(&stolen, &app, said)).await,
        _ => stolen.pass_on(&app, Before { up: said, ..Before::default() }).await,
    }
}

/// Finds out what a caller speaks. Who has spoken by the time that he is accepted waits for
/// nobody's first word: for him no server is called before it is known which.
async fn detect(stolen: &Stolen, said: &mut Vec<u8>) -> Option<(Detected, Option<Upstream>)> {
    let read = stolen.client.read_now(said, MAX_HEAD);
    if let (Ok(()), Some(first)) = (&read, Detected::said_by(said)) {
        return Some((first, None));
    }
    let app = call_app(stolen, Ack::Immediate).await?;
    if read.is_err() {
        // He is gone again, which the application sees as it would have without us.
        app.stream.reset_on_close();
        return None;
    }
    let first = first(&stolen.client, &app.stream, said).await;
    Some((first, Some(app)))
}

/// Calls the application, whose refusal becomes the caller's.
async fn call_app(stolen: &Stolen, ack: Ack) -> Option<Upstream> {
    match stolen.dial_app(ack).await {
        Ok(app) => Some(app),
        Err(error) => {
            stolen.record.record_all(error.into());
            stolen.client.reset_on_close();
            None
        }
    }
}

// === impl Detected ===

impl Detected {
    /// None if more bytes are needed.
    fn said_by(said: &[u8]) -> Option<Self> {
        Some(match opening(said) {
            Opening::Undecided if said.len() < MAX_OPENING => return None,
            Opening::Undecided => Self::Other(Piped::Request(Reason::HeadTooLong)),
            Opening::Http1 => Self::Http1,
            Opening::Http2Preface => Self::Http2,
            Opening::Other => Self::Other(Piped::Request(Reason::NotHttp)),
            Opening::Tls => match hello::client_hello(said) {
                Parsed::Partial => return None,
                Parsed::Complete { head, .. } => Self::Tls(head.server_name.map(Box::from)),
                Parsed::Unframed(reason) => Self::Other(Piped::Request(reason)),
            },
        })
    }
}

/// Reads from the caller until it is known what he speaks, unless the application speaks before.
async fn first(client: &Stream, app: &Stream, said: &mut Vec<u8>) -> Detected {
    let mut spoke = false;
    loop {
        tokio::select! {
            biased;
            read = client.read_more(said) => match read {
                Ok(0) | Err(_) => return Detected::End,
                Ok(_) => {}
            },
            // Some servers open HTTP/2 before the caller does. He waits for nothing all the same.
            spoken = speaks(app), if !spoke => match spoken {
                Spoken::MaybeHttp2 => spoke = true,
                Spoken::Other => return Detected::Other(Piped::ServerSpoke),
                Spoken::Nothing => return Detected::End,
            },
        }
        if let Some(first) = Detected::said_by(said) {
            return first;
        }
    }
}

/// What a server says before it has been asked.
enum Spoken {
    MaybeHttp2,
    Other,
    /// It has ended.
    Nothing,
}

async fn speaks(app: &Stream) -> Spoken {
    let mut head = [0; 64];
    match app.peek(&mut head).await {
        Ok(0) | Err(_) => Spoken::Nothing,
        Ok(n) if http2::may_begin(&head[..n]) => Spoken::MaybeHttp2,
        Ok(_) => Spoken::Other,
    }
}
