//! One stream: a request and its response, between the caller and the one server that the rules
//! say.
//!
//! Nothing is read of a side that the other has not room for: windows are given back as bytes are
//! handed on, so that flow control reaches from end to end.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture, server::SendResponse};
use http::{
    Request, Response, Version,
    header::{AUTHORIZATION, PROXY_AUTHORIZATION},
    request,
};
use tokio::sync::watch;

use super::{
    line::{Line, Reach},
    window::Held,
};
use crate::relay::{
    direction::Direction,
    observe::{Counters, Observer as _, ResponseClock},
    route::Route,
    stats::{FellBack, Outcome},
    stolen::Stolen,
};

/// What all streams of a caller have in common.
pub(super) struct Common<'a> {
    pub(super) stolen: &'a Stolen,
    /// The caller's streams whose requests a server does not take.
    pub(super) held: Held,
    pub(super) app: Line,
    /// How many streams there are that have nothing to do with that line.
    pub(super) elsewhere: &'a AtomicUsize,
}

/// Where a stream is to go.
pub(super) struct Way {
    /// The target of a rule, and how it is reached.
    pub(super) target: Option<Arc<Route>>,
    /// Nothing: by the application's line.
    pub(super) reach: Option<watch::Receiver<Reach>>,
    /// Measures how long the response takes.
    pub(super) clock: ResponseClock,
}

/// What is left to be done about a stream.
pub(super) enum Rest {
    Nothing,
    /// To be reset, as soon as what was sent of it before is out.
    Reset(SendResponse<Bytes>, Reason),
    /// The application's connection is lost.
    Lost(SendResponse<Bytes>),
}

/// Why a stream ended before it was complete.
#[derive(Debug)]
enum Cut {
    /// The caller reset it, or is gone.
    Caller(Option<Reason>),
    /// The server reset it.
    Server(Reason),
    /// The connection to the server is lost, with an unknown part of the request processed.
    ServerLost,
}

/// Why a direction ended before it was complete.
enum Broken {
    Source(h2::Error),
    /// Its peer takes no more; with what it reset the stream, if it did.
    Sink(Option<Reason>),
}

/// Counts a stream as long as it is not the application's line that it needs.
struct Elsewhere<'a>(&'a AtomicUsize);

/// Serves one stream to its end.
pub(super) async fn exchange(
    common: &Common<'_>,
    mut head: request::Parts,
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
    mut way: Way,
) -> Rest {
    if head.uri.authority().is_none() {
        // A Uri has no scheme then, which the library minds in what calls itself HTTP/2. It is
        // `http` again on its way.
        head.version = Version::HTTP_11;
    }
    for name in [AUTHORIZATION, PROXY_AUTHORIZATION] {
        // Their senders say so as a rule (RFC 7541, section 7.1.3), and the library forgets it.
        if let Some(secret) = head.headers.get_mut(name) {
            secret.set_sensitive(true);
        }
    }
    let elsewhere = way.reach.as_ref().map(|_| Elsewhere::new(common.elsewhere));
    let reached = match way.reach {
        None => None,
        Some(reach) => tokio::select! {
            biased;
            _ = poll_fn(|cx| respond.poll_reset(cx)) => return Rest::Nothing,
            settled = settled(reach) => Some(settled),
        },
    };
    let (route, mut line, elsewhere) = match (reached, &way.target) {
        (None, _) => (None, common.app.clone(), None),
        (Some(Ok(line)), route) => (route.as_ref(), line, elsewhere),
        (Some(Err(outcome)), Some(route)) => {
            common.stolen.failed(route, outcome);
            (None, common.app.clone(), None)
        }
        // The application takes no more.
        (Some(Err(_)), None) => return Rest::Reset(respond, Reason::REFUSED_STREAM),
    };
    let is_apps_line = elsewhere.is_none();
    let Ok((response, mut up)) = send(&mut line, head, body.is_end_stream()) else {
        // Nothing of it was sent, so it may be sent again (RFC 9113, section 8.7).
        return Rest::Reset(respond, Reason::REFUSED_STREAM);
    };
    if let Some(route) = route {
        common.stolen.reached(route);
    }
    let observer = match route {
        Some(route) => common.stolen.observe_target(route),
        None => common.stolen.observe_app(),
    };
    observer.head(Direction::Up, &mut way.clock);
    let begun = || observer.head(Direction::Down, &mut way.clock);
    let cut = {
        let through = [AtomicBool::new(false), AtomicBool::new(false)];
        let requests = upload(&mut body, &mut up, &common.held, observer, &through[0]);
        let responses = download(response, &mut respond, &line.held, observer, &through[1], begun);
        both(requests, responses, &through).await
    };
    drop(elsewhere);
    match cut {
        Ok(()) => Rest::Nothing,
        Err(Cut::Caller(reason)) => {
            up.send_reset(reason.unwrap_or(Reason::CANCEL));
            Rest::Nothing
        }
        Err(Cut::Server(reason)) => Rest::Reset(respond, reason),
        Err(Cut::ServerLost) if is_apps_line => Rest::Lost(respond),
        Err(Cut::ServerLost) => Rest::Reset(respond, Reason::INTERNAL_ERROR),
    }
}

/// Waits until it is known whether a server can be reached.
async fn settled(mut reach: watch::Receiver<Reach>) -> Result<Line, Outcome> {
    let known = reach.wait_for(|reach| !matches!(reach, Reach::Calling)).await;
    match known.as_deref() {
        Ok(Reach::Open(line)) => Ok(line.clone()),
        Ok(Reach::Failed(outcome)) => Err(*outcome),
        // It ended between being found and being used.
        _ => Err(Outcome::FellBack(FellBack::ConnectFailed)),
    }
}

fn send(
    line: &mut Line,
    head: request::Parts,
    is_all: bool,
) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
    line.sender().send_request(Request::from_parts(head, ()), is_all)
}

/// Runs both directions until the response is through and nothing more of the request is wanted, or
/// one is cut.
///
/// Neither ends by being `through`: it goes on to watch for a reset.
async fn both(
    requests: impl Future<Output = Broken>,
    responses: impl Future<Output = Cut>,
    through: &[AtomicBool; 2],
) -> Result<(), Cut> {
    let (mut requests, mut responses) = (pin!(requests), pin!(responses));
    let mut stopped = None;
    poll_fn(|cx| {
        if stopped.is_none()
            && let Poll::Ready(broken) = requests.as_mut().poll(cx)
        {
            match broken {
                Broken::Source(error) => return Poll::Ready(Err(Cut::Caller(reset_of(&error)))),
                Broken::Sink(reason) => stopped = Some(reason),
            }
        }
        if let Poll::Ready(cut) = responses.as_mut().poll(cx) {
            return Poll::Ready(Err(cut));
        }
        match (through.each_ref().map(|through| through.load(Ordering::Relaxed)), stopped) {
            ([true, true], _) | ([false, true], Some(_)) => Poll::Ready(Ok(())),
            // It was reset, and the caller has no room for what was said before.
            ([_, false], Some(Some(reason))) if reason != Reason::NO_ERROR => {
                Poll::Ready(Err(Cut::Server(reason)))
            }
            _ => Poll::Pending,
        }
    })
    .await
}

/// Passes the content of a request on, then waits for the server to reset the stream.
async fn upload(
    body: &mut RecvStream,
    up: &mut SendStream<Bytes>,
    held: &Held,
    observer: Counters<'_>,
    through: &AtomicBool,
) -> Broken {
    if let Err(broken) = pump(body, up, held, (observer, Direction::Up)).await {
        return broken;
    }
    through.store(true, Ordering::Relaxed);
    Broken::Sink(poll_fn(|cx| up.poll_reset(cx)).await.ok())
}

/// Passes a response on, from its head to its trailers, then waits for the caller to reset the
/// stream.
async fn download(
    mut response: ResponseFuture,
    respond: &mut SendResponse<Bytes>,
    held: &Held,
    observer: Counters<'_>,
    through: &AtomicBool,
    begun: impl FnOnce(),
) -> Cut {
    let answered = answer(&mut response, respond, begun).await;
    let (mut body, mut down) = match answered {
        Ok(answered) => answered,
        Err(cut) => return cut,
    };
    match pump(&mut body, &mut down, held, (observer, Direction::Down)).await {
        Ok(()) => {}
        Err(Broken::Source(error)) => return Cut::of_server(&error),
        Err(Broken::Sink(reason)) => return Cut::Caller(reason),
    }
    through.store(true, Ordering::Relaxed);
    Cut::Caller(poll_fn(|cx| down.poll_reset(cx)).await.ok())
}

/// Passes the heads of a response on: 1xx, and then its own.
async fn answer(
    response: &mut ResponseFuture,
    respond: &mut SendResponse<Bytes>,
    begun: impl FnOnce(),
) -> Result<(RecvStream, SendStream<Bytes>), Cut> {
    let mut begun = Some(begun);
    let (head, body) = loop {
        let said = poll_fn(|cx| {
            if let Poll::Ready(reset) = respond.poll_reset(cx) {
                return Poll::Ready(Err(Cut::Caller(reset.ok())));
            }
            if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
                return Poll::Ready(
                    interim.map(Head::Interim).map_err(|error| Cut::of_server(&error)),
                );
            }
            let last = Pin::new(&mut *response).poll(cx);
            last.map(|last| last.map(Head::Final).map_err(|error| Cut::of_server(&error)))
        })
        .await?;
        if let Some(begun) = begun.take() {
            begun();
        }
        match said {
            Head::Interim(interim) => {
                respond
                    .send_informational(interim)
                    .map_err(|error| Cut::Caller(reset_of(&error)))?;
            }
            Head::Final(response) => break response.into_parts(),
        }
    };
    let sent = respond.send_response(Response::from_parts(head, ()), body.is_end_stream());
    let down = sent.map_err(|error| Cut::Caller(reset_of(&error)))?;
    Ok((body, down))
}

/// The head of a response.
enum Head {
    /// 1xx
    Interim(Response<()>),
    Final(Response<RecvStream>),
}

/// Passes on all that `source` still says.
async fn pump(
    source: &mut RecvStream,
    sink: &mut SendStream<Bytes>,
    held: &Held,
    (observer, direction): (Counters<'_>, Direction),
) -> Result<(), Broken> {
    if source.is_end_stream() {
        // The head said so.
        return Ok(());
    }
    loop {
        let data = poll_fn(|cx| {
            if let Poll::Ready(reset) = sink.poll_reset(cx) {
                return Poll::Ready(Err(Broken::Sink(reset.ok())));
            }
            source.poll_data(cx).map(Ok)
        });
        let Some(data) = data.await? else { break };
        let mut data = data.map_err(Broken::Source)?;
        while !data.is_empty() {
            let room = room_for(sink, data.len(), held).await?;
            let piece = data.split_to(room.min(data.len()));
            let n = piece.len();
            observer.bytes(direction, &piece);
            let is_last = data.is_empty() && source.is_end_stream();
            sink.send_data(piece, is_last).map_err(|error| Broken::Sink(reset_of(&error)))?;
            // Fails only for more than was received.
            let _ = source.flow_control().release_capacity(n);
            if is_last {
                return Ok(());
            }
        }
    }
    let trailers = source.trailers().await.map_err(Broken::Source)?;
    let ended = match trailers {
        Some(trailers) => sink.send_trailers(trailers),
        None => sink.send_data(Bytes::new(), true),
    };
    ended.map_err(|error| Broken::Sink(reset_of(&error)))
}

/// Waits until some of `wanted` bytes can be sent.
async fn room_for(
    sink: &mut SendStream<Bytes>,
    wanted: usize,
    held: &Held,
) -> Result<usize, Broken> {
    sink.reserve_capacity(wanted);
    if sink.capacity() > 0 {
        return Ok(sink.capacity());
    }
    let _hold = held.hold();
    poll_fn(|cx| {
        if let Poll::Ready(reset) = sink.poll_reset(cx) {
            return Poll::Ready(Err(Broken::Sink(reset.ok())));
        }
        sink.poll_capacity(cx).map(|room| match room {
            Some(Ok(room)) => Ok(room),
            Some(Err(_)) | None => Err(Broken::Sink(None)),
        })
    })
    .await
}

/// The code of a reset by the peer.
fn reset_of(error: &h2::Error) -> Option<Reason> {
    error.reason().filter(|_| error.is_reset() && error.is_remote())
}

// === impl Cut ===

impl Cut {
    fn of_server(error: &h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_reset() => Self::Server(reason),
            // Sent, and said to be ignored (RFC 9113, section 6.8).
            Some(_) if error.is_go_away() && error.is_remote() => {
                Self::Server(Reason::REFUSED_STREAM)
            }
            _ => Self::ServerLost,
        }
    }
}

// === impl Elsewhere ===

impl<'a> Elsewhere<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Elsewhere<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
