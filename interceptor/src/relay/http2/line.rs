//! A connection to the application or to a target, on which the streams of one caller run.

use std::{
    future::{Future, poll_fn},
    io,
    ops::Deref,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::{
    Reason,
    client::{Connection, SendRequest},
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    io::{Io, Outlet},
    settings::{FirstFrame, Settings},
    window::{Held, Window},
};
use crate::relay::{
    dial::Ack,
    route::Route,
    stats::{FellBack, Outcome},
    stolen::Stolen,
    stream::Stream,
};

/// What a stream needs of a connection to be sent on it.
#[derive(Clone)]
pub(super) struct Line {
    sender: SendRequest<Bytes>,
    /// The streams on it whose responses the caller does not take.
    pub(super) held: Held,
}

/// Moves the frames of a connection. Has to be polled whenever anything happens on any side.
pub(super) struct Driver<S> {
    connection: Connection<Io<S>, Bytes>,
    outlet: Outlet<S>,
    window: Window,
}

/// A connection that is made when it is wanted: to a rule's target, or another one to the
/// application when that has asked for no more streams on its line. The caller has not heard of it
/// yet, and is not to notice.
pub(super) struct Target<'a> {
    route: Option<Arc<Route>>,
    says: Arc<watch::Sender<Reach>>,
    driver: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
}

/// Whether a server can be reached.
#[derive(Clone)]
pub(super) enum Reach {
    /// It is being called.
    Calling,
    Open(Line),
    /// It was never open.
    Failed(Outcome),
    Ended,
}

/// Makes the end of a connection a reset if it is to be one.
pub(super) struct End<'a> {
    pub(super) stream: &'a Stream,
    pub(super) reset: &'a AtomicBool,
}

/// Opens the line behind `stream`, whose peer has had the opening of a client with these `settings`
/// and has said `heard`.
pub(super) async fn open<S>(
    stream: S,
    heard: Vec<u8>,
    settings: &Settings,
) -> Result<(Line, Driver<S>), h2::Error>
where
    S: Deref<Target = Stream> + Clone + Unpin,
{
    let io = Io::new(stream, heard).introduced();
    let outlet = io.outlet();
    let (sender, connection) = settings.client().handshake(io).await?;
    let window = Window::new(settings.stream_window());
    let line = Line { sender, held: window.held() };
    Ok((line, Driver { connection, outlet, window }))
}

// === impl Line ===

impl Line {
    /// Whether another stream may be sent on it: nobody has ended it.
    pub(super) fn is_usable(&mut self) -> bool {
        // It waits for nothing, since no stream was sent by this handle.
        poll_fn(|cx| self.sender.poll_ready(cx)).now_or_never().is_some_and(|ready| ready.is_ok())
    }

    /// Whether the server has asked for no more streams, as one does that ends in order.
    pub(super) fn is_dismissed(&mut self) -> bool {
        let ready = poll_fn(|cx| self.sender.poll_ready(cx)).now_or_never();
        ready.and_then(Result::err).is_some_and(|error| {
            error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
        })
    }

    pub(super) fn sender(&mut self) -> &mut SendRequest<Bytes> {
        &mut self.sender
    }
}

// === impl Driver ===

impl<S: Deref<Target = Stream> + Unpin> Driver<S> {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        if let Some(size) = self.window.change() {
            self.connection.set_target_window_size(size);
        }
        let end = Pin::new(&mut self.connection).poll(cx);
        self.outlet.flush(cx);
        end
    }
}

// === impl Target ===

impl<'a> Target<'a> {
    /// Calls the target of `route`, or the application. `settings` are the caller's.
    pub(super) fn call(
        stolen: &'a Stolen,
        route: Option<Arc<Route>>,
        settings: &Settings,
        reset: &'a AtomicBool,
    ) -> Self {
        let says = Arc::new(watch::Sender::new(Reach::Calling));
        let (called, settings, told) = (route.clone(), settings.guarded(), Arc::clone(&says));
        let driver = async move {
            if let Err(outcome) = run(stolen, called.as_ref(), &settings, reset, &told).await {
                told.send_replace(Reach::Failed(outcome));
            }
        };
        Self { route, says, driver: Box::pin(driver) }
    }

    /// Whether another stream for the target of `route`, or for the application, may be sent on it,
    /// as far as is known.
    pub(super) fn takes(&self, route: Option<&Arc<Route>>) -> bool {
        if self.route.as_ref().map(Arc::as_ptr) != route.map(Arc::as_ptr) {
            return false;
        }
        match &mut self.says.borrow().clone() {
            Reach::Calling => true,
            Reach::Open(line) => line.is_usable(),
            Reach::Failed(_) | Reach::Ended => false,
        }
    }

    /// To wait for, and to ask.
    pub(super) fn reach(&self) -> watch::Receiver<Reach> {
        self.says.subscribe()
    }

    /// If its rule is gone, no other stream is to come: the connection ends with the last one that
    /// it has.
    pub(super) fn let_go_if_withdrawn(&self) {
        let is_withdrawn = self.route.as_ref().is_some_and(|route| route.is_withdrawn());
        if is_withdrawn && matches!(&*self.says.borrow(), Reach::Open(_)) {
            // Without the handle, and without streams, the library ends it.
            self.says.send_replace(Reach::Ended);
        }
    }

    /// Ready when it has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.driver.as_mut().poll(cx)
    }
}

/// From the call of a server to the end of the connection.
async fn run(
    stolen: &Stolen,
    route: Option<&Arc<Route>>,
    settings: &Settings,
    reset: &AtomicBool,
    says: &watch::Sender<Reach>,
) -> Result<(), Outcome> {
    let (upstream, mut first) = match route {
        Some(route) => (stolen.dial(route, Ack::Delayed).await?, stolen.preface(route)),
        None => (stolen.dial_app(Ack::Delayed).await?, Vec::new()),
    };
    let _end = End { stream: &upstream.stream, reset };
    let deadline = Instant::now() + stolen.workload.connect_timeout;
    first.extend(settings.opening());
    // One that is frozen still accepts. It has had no request by then.
    let greeting = timeout_at(deadline, greet(&upstream.stream, &first)).await;
    let failed = |_| Outcome::FellBack(FellBack::ConnectFailed);
    let heard =
        greeting.map_err(|_| Outcome::FellBack(FellBack::TargetTimeout))?.map_err(failed)?;
    let (line, mut driver) = open(&*upstream.stream, heard, settings)
        .await
        .map_err(|_| Outcome::FellBack(FellBack::ConnectFailed))?;
    says.send_replace(Reach::Open(line));
    // What it ended with is told by each of its streams.
    let _ = poll_fn(|cx| driver.poll(cx)).await;
    says.send_replace(Reach::Ended);
    Ok(())
}

/// Speaks first, and gives what the peer answers if that is HTTP/2.
async fn greet(stream: &Stream, first: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(first).await?;
    let mut heard = Vec::new();
    loop {
        match FirstFrame::read(&heard) {
            FirstFrame::Settings(..) => return Ok(heard),
            FirstFrame::Other => return Err(io::ErrorKind::InvalidData.into()),
            FirstFrame::Partial if stream.read_more(&mut heard).await? == 0 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            FirstFrame::Partial => {}
        }
    }
}

// === impl End ===

impl Drop for End<'_> {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            self.stream.reset_on_close();
        }
    }
}
