//! Waits for the first bytes of the client, or of the app, that decide.

use std::pin::Pin;

use interceptor_wire::{Opening, Parsed, http1::MAX_HEAD, opening, proxy};
use tokio::time::timeout;

use super::detected::Detected;
use crate::relay::{
    dial::{Ack, AppDialError},
    hold::{Begins, Hold},
    http2,
    received::Received,
    stats::{Outcome, Piped},
    stolen::Stolen,
    stream::Stream,
    upstream::Upstream,
};

/// Capacity for the first bytes of most clients, in bytes.
const USUAL_OPENING: usize = 2048;
/// Maximum number of bytes that are examined of what an app sends before the client does.
const APP_OPENING: usize = 64;

/// A connection whose protocol is known.
pub(super) struct First {
    pub(super) detected: Detected,
    /// The app's connection, if there is one.
    pub(super) app: Option<Upstream>,
    /// What was read of the client, without a PROXY header.
    pub(super) bytes: Received,
}

/// Detects the protocol. None if the connection is over.
pub(super) async fn of(stolen: &mut Stolen) -> Option<First> {
    let mut bytes = Received::new(Vec::with_capacity(USUAL_OPENING));
    let read = stolen.client.read_now(bytes.buffer(), MAX_HEAD);
    if let (Ok(()), Some(detected)) = (&read, examine(stolen, &mut bytes)) {
        return Some(First { detected, app: None, bytes });
    }
    if read.is_err() {
        // The client is gone already. The app sees a connection that is reset, as without the
        // relay.
        stolen.app_or_refuse(Ack::Immediate).await?.stream.reset_on_close();
        return None;
    }
    let app = App::Dialling(Box::pin(stolen.dial_app(Ack::Immediate)));
    let mut wait = Wait {
        // The dial sends it.
        is_header_sent: !stolen.proxy_header.is_empty(),
        stolen,
        bytes,
        app,
        hold: Hold::default(),
        app_may_speak_http2: false,
    };
    let detected = wait.until_detected().await?;
    Some(wait.complete(detected).await)
}

/// The protocol of a client that sent `bytes`, behind its PROXY header. A complete header moves
/// from `bytes` to `stolen`. None if more bytes are needed.
fn examine(stolen: &mut Stolen, bytes: &mut Received) -> Option<Detected> {
    if stolen.proxy_header.is_empty() && opening(bytes.all()) == Opening::Proxy {
        match proxy::header(bytes.all()) {
            Parsed::Partial => return None,
            Parsed::Complete { len, .. } => stolen.proxy_header = bytes.take(len).into(),
            Parsed::Unframed(reason) => return Some(Detected::Other(Piped::Request(reason))),
        }
    }
    Detected::by_client(bytes.all())
}

/// A connection whose protocol is not known yet.
struct Wait<'a> {
    stolen: &'a mut Stolen,
    bytes: Received,
    app: App,
    /// The app's connection, if it is open, has got the client's PROXY header.
    is_header_sent: bool,
    hold: Hold,
    /// The app has sent something that may be HTTP/2, so it is not examined any more.
    app_may_speak_http2: bool,
}

/// The way to the app.
enum App {
    Dialling(Dial),
    Open(Upstream),
    /// What it means for the client if only the app can serve it.
    Failed(Outcome),
}

type Dial = Pin<Box<dyn Future<Output = Result<Upstream, AppDialError>> + Send>>;

/// What happened on a connection whose protocol is not known yet.
enum Event {
    /// The client sent bytes.
    Received,
    /// The client ended, or failed.
    ClientEnded,
    Dialled(Result<Upstream, AppDialError>),
    App(AppFirst),
    /// The client has been silent for too long.
    Silence,
    /// The daemon ends, and nobody has sent anything.
    Farewell,
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

// === impl Wait ===

impl Wait<'_> {
    /// Waits until the protocol is known. None if the connection is over.
    async fn until_detected(&mut self) -> Option<Detected> {
        loop {
            match self.next().await {
                Event::Received => {
                    let detected = examine(self.stolen, &mut self.bytes);
                    // At once: a server that speaks first waits for the header.
                    if !self.send_header().await {
                        return Some(Detected::Ended);
                    }
                    if detected.is_some() {
                        return detected;
                    }
                    // The app has what these bytes belong to.
                    if self.bytes.has_given() && !self.app.send(self.bytes.give()).await {
                        return Some(Detected::Ended);
                    }
                }
                Event::ClientEnded => return Some(Detected::Ended),
                Event::Dialled(Ok(app)) => {
                    self.app = App::Open(app);
                    if !self.send_header().await {
                        return Some(Detected::Ended);
                    }
                }
                Event::Dialled(Err(error)) => self.app = App::Failed(error.into()),
                // The client has not waited for it: its own first bytes are on their way.
                Event::App(AppFirst::MaybeHttp2) => self.app_may_speak_http2 = true,
                Event::App(AppFirst::Other) => return Some(Detected::Other(Piped::ServerSpoke)),
                Event::App(AppFirst::Ended) => return Some(Detected::Ended),
                Event::Farewell => {
                    self.stolen.client.linger().await;
                    return None;
                }
                Event::Silence => {
                    if let App::Failed(outcome) = self.app {
                        self.stolen.record.record_all(outcome);
                        self.stolen.client.reset_on_close();
                        return None;
                    }
                    self.stolen.undecided();
                    if !self.app.send(self.bytes.give()).await {
                        return Some(Detected::Ended);
                    }
                }
            }
        }
    }

    async fn next(&mut self) -> Event {
        let Self { stolen, bytes, app, hold, app_may_speak_http2, .. } = self;
        if bytes.held().is_empty() && !matches!(app, App::Failed(_)) {
            hold.end();
        } else {
            hold.note(bytes.held(), Begins::Connection, stolen.workload.silence);
        }
        let is_idle = bytes.is_empty() && !*app_may_speak_http2;
        tokio::select! {
            biased;
            () = stolen.workload.farewell.closes_idle(), if is_idle => Event::Farewell,
            read = stolen.client.read_more(bytes.buffer()) => match read {
                Ok(0) | Err(_) => Event::ClientEnded,
                Ok(_) => Event::Received,
            },
            event = app.next(!*app_may_speak_http2, hold) => event,
        }
    }

    /// Sends the app the PROXY header, if it has arrived. False if that failed.
    async fn send_header(&mut self) -> bool {
        let header = &self.stolen.proxy_header;
        match &self.app {
            App::Open(app) if !self.is_header_sent && !header.is_empty() => {
                self.is_header_sent = true;
                app.stream.write_all(header).await.is_ok()
            }
            App::Dialling(_) | App::Open(_) | App::Failed(_) => true,
        }
    }

    /// The protocol is known. A dial in progress is waited for: if it were given up, the app would
    /// see a connection that is reset.
    async fn complete(mut self, detected: Detected) -> First {
        if let App::Dialling(dial) = &mut self.app
            && let Ok(Ok(app)) = timeout(self.stolen.workload.silence.opening, dial).await
        {
            self.app = App::Open(app);
        }
        let is_sent = self.send_header().await;
        let app = match self.app {
            App::Open(app) if is_sent => Some(app),
            App::Open(_) | App::Dialling(_) | App::Failed(_) => None,
        };
        First { detected, app, bytes: self.bytes }
    }
}

// === impl App ===

impl App {
    /// Waits for what the app does next, or for the end of the client's silence. The latter is not
    /// waited for while the dial is in progress.
    async fn next(&mut self, is_examined: bool, hold: &mut Hold) -> Event {
        match self {
            Self::Dialling(dial) => Event::Dialled(dial.await),
            Self::Open(app) => tokio::select! {
                first = AppFirst::of(&app.stream), if is_examined => Event::App(first),
                () = hold.ended() => Event::Silence,
            },
            Self::Failed(_) => {
                hold.ended().await;
                Event::Silence
            }
        }
    }

    /// Sends these bytes, if the connection is open. False if that failed.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Open(app) => app.stream.write_all(bytes).await.is_ok(),
            Self::Dialling(_) | Self::Failed(_) => true,
        }
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
