//! Waits for the first bytes of the client, or of the app, that decide.

use std::pin::Pin;

use interceptor_wire::{Opening, Parsed, http1::MAX_HEAD, http2::FRAME_HEADER, opening, proxy};
use tokio::time::{Instant, sleep_until, timeout};

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
        word: None,
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
    /// The app has sent something that may be HTTP/2.
    word: Option<Word>,
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
    /// The client sent FIN.
    ClientEnded,
    ClientFailed,
    Dialled(Result<Upstream, AppDialError>),
    App(AppFirst),
    /// The client has been silent for too long.
    Silence,
    /// The daemon ends, and the client has sent nothing yet.
    Farewell,
}

/// What an app did before the client sent anything that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AppFirst {
    /// It sent the beginning of its SETTINGS: some servers open HTTP/2 before the client does.
    Http2,
    /// It sent less than that, but what may become it.
    MaybeHttp2,
    /// It sent something else.
    Other,
    /// It sent FIN.
    Ended,
    Failed,
}

/// What an app has said that may be HTTP/2. It waits for the client's first bytes, which HTTP/2
/// needs, but not for ever.
struct Word {
    first: AppFirst,
    until: Instant,
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
                Event::ClientFailed => {
                    self.reset_app().await;
                    return None;
                }
                Event::App(first @ (AppFirst::Http2 | AppFirst::MaybeHttp2)) => {
                    if !self.may_wait(first) {
                        return Some(Detected::Other(Piped::ServerSpoke));
                    }
                }
                Event::App(AppFirst::Other) => return Some(Detected::Other(Piped::ServerSpoke)),
                Event::App(AppFirst::Ended) => return Some(Detected::Ended),
                Event::App(AppFirst::Failed) => {
                    self.stolen.client.reset_on_close();
                    return None;
                }
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
        let Self { stolen, bytes, app, hold, word, .. } = self;
        if bytes.held().is_empty() && !matches!(app, App::Failed(_)) {
            hold.end();
        } else {
            hold.note(bytes.held(), Begins::Connection, stolen.workload.silence);
        }
        let is_idle = bytes.is_empty() && word.is_none();
        tokio::select! {
            biased;
            read = stolen.client.read_more(bytes.buffer()) => match read {
                Ok(0) => Event::ClientEnded,
                Ok(_) => Event::Received,
                Err(_) => Event::ClientFailed,
            },
            event = app.next(word.as_ref(), hold) => event,
            () = stolen.workload.farewell.closes_idle(), if is_idle => Event::Farewell,
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

    /// Whether the client may still say something that makes HTTP/2 of the app's word. Its own
    /// first bytes are on their way then.
    fn may_wait(&mut self, first: AppFirst) -> bool {
        let silence = self.stolen.workload.silence;
        let wait = match (first, self.word.as_ref().map(|word| word.first)) {
            // The client has said what is not HTTP/2.
            (AppFirst::MaybeHttp2, _) if self.bytes.has_given() => return false,
            (AppFirst::MaybeHttp2, None) => silence.opening,
            (AppFirst::Http2, None | Some(AppFirst::MaybeHttp2)) => silence.head,
            _ => return false,
        };
        self.word = Some(Word { first, until: Instant::now() + wait });
        true
    }

    /// Sends the app what the client sent before it failed, and lets the app's connection fail.
    async fn reset_app(&mut self) {
        self.end_dial().await;
        self.send_header().await;
        if let App::Open(app) = &self.app {
            app.stream.send_rest(self.bytes.give()).await;
            app.stream.reset_on_close();
        }
    }

    /// Waits for the end of a dial in progress. If it were given up, the app would see a connection
    /// that is reset.
    async fn end_dial(&mut self) {
        if let App::Dialling(dial) = &mut self.app
            && let Ok(Ok(app)) = timeout(self.stolen.workload.silence.opening, dial).await
        {
            self.app = App::Open(app);
        }
    }

    /// The protocol is known.
    async fn complete(mut self, detected: Detected) -> First {
        self.end_dial().await;
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
    async fn next(&mut self, word: Option<&Word>, hold: &mut Hold) -> Event {
        match self {
            Self::Dialling(dial) => Event::Dialled(dial.await),
            Self::Open(app) => tokio::select! {
                first = AppFirst::of(&app.stream, word) => Event::App(first),
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
    /// Waits for the app to send or to end. A word that it has sent is examined again at the end of
    /// its wait.
    async fn of(app: &Stream, word: Option<&Word>) -> Self {
        if let Some(word) = word {
            sleep_until(word.until).await;
        }
        let look = |head: &[u8]| match head {
            [] => Self::Ended,
            head if !http2::may_begin(head) => Self::Other,
            head if head.len() < FRAME_HEADER => Self::MaybeHttp2,
            _ => Self::Http2,
        };
        app.peek(APP_OPENING, look).await.unwrap_or(Self::Failed)
    }
}
