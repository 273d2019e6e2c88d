//! An HTTP/2 server whose path selects the response, and that records what it receives.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server, server::SendResponse};
use http::{HeaderMap, Request, Response};
use interceptor_tests::{Background, pattern};
use parking_lot::{Mutex, MutexGuard};
use testbed::{Checksum, Namespace};
use tokio::{net::TcpListener, sync::Notify, time::sleep};

/// A server. Dropping it ends it and its connections.
pub(crate) struct Server {
    pub(crate) record: Arc<Record>,
    go_away: Arc<Notify>,
    _serving: Background,
}

/// What a server has received.
#[derive(Default)]
pub(crate) struct Record {
    connections: AtomicU64,
    /// Connections that have ended.
    ended: AtomicU64,
    requests: Mutex<Vec<Request<()>>>,
    /// The codes with which clients have reset streams.
    resets: Mutex<Vec<Reason>>,
}

impl Record {
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<Request<()>>> {
        self.requests.lock()
    }

    pub(crate) fn resets(&self) -> MutexGuard<'_, Vec<Reason>> {
        self.resets.lock()
    }
}

impl Server {
    /// Starts a server on `port`, with the name `tag`.
    pub(crate) fn start(netns: &Namespace, port: u16, tag: &'static str) -> Result<Self> {
        Self::adapted(netns, port, tag, |_| {})
    }

    /// As [`start`](Self::start), with other settings.
    pub(crate) fn adapted(
        netns: &Namespace,
        port: u16,
        tag: &'static str,
        adapt: impl FnOnce(&mut server::Builder),
    ) -> Result<Self> {
        let mut builder = server::Builder::new();
        adapt(&mut builder);
        let (record, go_away) = (Arc::<Record>::default(), Arc::<Notify>::default());
        let state = (Arc::clone(&record), Arc::clone(&go_away));
        let serving =
            Background::serve(netns, port, move |listener| serve(listener, builder, tag, state))?;
        Ok(Self { record, go_away, _serving: serving })
    }

    /// Sends GOAWAY on all connections.
    pub(crate) fn go_away(&self) {
        self.go_away.notify_waiters();
    }

    /// Ends the server without a word on its connections, as when its process is killed.
    pub(crate) fn kill(self) {}
}

async fn serve(
    listener: TcpListener,
    builder: server::Builder,
    tag: &'static str,
    (record, go_away): (Arc<Record>, Arc<Notify>),
) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a TCP stream");
        record.connections.fetch_add(1, Ordering::Relaxed);
        let (builder, record, go_away) =
            (builder.clone(), Arc::clone(&record), Arc::clone(&go_away));
        tokio::spawn(async move {
            let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
            loop {
                let accepted = tokio::select! {
                    accepted = connection.accept() => accepted,
                    () = go_away.notified() => {
                        connection.graceful_shutdown();
                        continue;
                    }
                };
                let Some(Ok((request, respond))) = accepted else {
                    record.ended.fetch_add(1, Ordering::Relaxed);
                    return;
                };
                let record = Arc::clone(&record);
                tokio::spawn(respond_to(request, respond, tag, record));
            }
        });
    }
}

/// Responds to one request. `None` if the stream ends before.
async fn respond_to(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    tag: &'static str,
    record: Arc<Record>,
) -> Option<()> {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path().to_owned();
    record.requests().push(Request::from_parts(head, ()));
    let ok = || Response::builder().header("server-tag", tag).body(()).expect("a response");
    // CONNECT has no path.
    let path = path.get(1..).unwrap_or("echo");
    let (what, number) = path.split_once('/').unwrap_or((path, "0"));
    let number: u32 = number.parse().unwrap_or(0);
    match what {
        // Echoes all data as it arrives, with its length in a trailer.
        "echo" => {
            let mut down = respond.send_response(ok(), false).ok()?;
            let mut count = 0;
            while let Some(data) = body.data().await {
                let data = match data {
                    Ok(data) => data,
                    Err(error) => {
                        record.resets().extend(error.reason());
                        return None;
                    }
                };
                count += data.len();
                body.flow_control().release_capacity(data.len()).ok()?;
                send_all(&mut down, data, false).await.ok()?;
            }
            let mut trailers = body.trailers().await.ok()?.unwrap_or_default();
            trailers.insert("count", count.into());
            down.send_trailers(trailers).ok()?;
        }
        // Reads everything, and responds with the checksum.
        "sink" => {
            let sum = read_all(&mut body).await.ok()?;
            let mut down = respond.send_response(ok(), false).ok()?;
            send_all(&mut down, format!("{tag} {sum}").into(), true).await.ok()?;
        }
        // Sends this number of bytes.
        "source" => {
            let mut down = respond.send_response(ok(), false).ok()?;
            let mut left = number as usize;
            while left > 0 {
                let n = left.min(16_000);
                left -= n;
                send_all(&mut down, pattern(n), left == 0).await.ok()?;
            }
        }
        // Resets the stream at once, or after the head and some data.
        "reset" => respond.send_reset(number.into()),
        "reset-late" => {
            let mut down = respond.send_response(ok(), false).ok()?;
            send_all(&mut down, "some".into(), false).await.ok()?;
            sleep(Duration::from_millis(50)).await;
            down.send_reset(number.into());
        }
        // Reads nothing, and never ends the response.
        "stuck" => {
            let mut down = respond.send_response(ok(), false).ok()?;
            let reason = poll_fn(|cx| down.poll_reset(cx)).await.ok()?;
            record.resets().push(reason);
            drop(body);
        }
        // Sends no head either.
        "silent" => {
            let reason = poll_fn(|cx| respond.poll_reset(cx)).await.ok()?;
            record.resets().push(reason);
            drop(body);
        }
        // Responds before it reads the request.
        "early" => {
            let mut down = respond.send_response(ok(), false).ok()?;
            send_all(&mut down, tag.into(), true).await.ok()?;
        }
        "hints" => {
            for n in 0..2 {
                let hints =
                    Response::builder().status(103).header("link", n).body(()).expect("hints");
                respond.send_informational(hints).ok()?;
            }
            respond.send_response(ok(), true).ok()?;
        }
        // Pushes another response with the one for the request.
        "push" => {
            let promised = Request::builder().uri("http://web/pushed").body(()).expect("a request");
            let mut pushed = respond.push_request(promised).ok()?;
            let mut down = respond.send_response(ok(), false).ok()?;
            send_all(&mut down, tag.into(), true).await.ok()?;
            let mut down = pushed.send_response(ok(), false).ok()?;
            let reason = poll_fn(|cx| down.poll_reset(cx)).await.ok()?;
            record.resets().push(reason);
        }
        "only-head" => {
            respond.send_response(ok(), true).ok()?;
        }
        _ => {
            let mut down = respond.send_response(ok(), false).ok()?;
            send_all(&mut down, tag.into(), true).await.ok()?;
        }
    }
    Some(())
}

/// Sends all data as fast as flow control allows.
pub(crate) async fn send_all(
    to: &mut SendStream<Bytes>,
    mut data: Bytes,
    is_last: bool,
) -> Result<()> {
    while !data.is_empty() {
        to.reserve_capacity(data.len());
        let window = if to.capacity() > 0 {
            to.capacity()
        } else {
            poll_fn(|cx| to.poll_capacity(cx)).await.context("the stream is closed")??
        };
        let piece = data.split_to(window.min(data.len()));
        let ends = is_last && data.is_empty();
        to.send_data(piece, ends)?;
    }
    Ok(())
}

/// Reads a body to its end.
pub(crate) async fn read_all(body: &mut RecvStream) -> Result<Checksum, h2::Error> {
    let mut sum = Checksum::default();
    while let Some(data) = body.data().await {
        let data = data?;
        sum.add(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(sum)
}

/// Reads a body as text, and its trailers.
pub(crate) async fn read_text(body: &mut RecvStream) -> Result<(String, Option<HeaderMap>)> {
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        text.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((String::from_utf8(text)?, body.trailers().await?))
}
