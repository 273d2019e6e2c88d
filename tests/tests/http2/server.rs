//! An HTTP/2 server that does what the path says, and notes what it saw.

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
use interceptor_tests::Background;
use parking_lot::{Mutex, MutexGuard};
use testbed::Namespace;
use tokio::{net::TcpListener, sync::Notify, time::sleep};

/// Ends, and so do its connections, when dropped.
pub(crate) struct Server {
    pub(crate) seen: Arc<Seen>,
    go_away: Arc<Notify>,
    _serving: Background,
}

/// What a server saw.
#[derive(Default)]
pub(crate) struct Seen {
    connections: AtomicU64,
    /// Connections that are over.
    ended: AtomicU64,
    requests: Mutex<Vec<Request<()>>>,
    /// How clients ended streams.
    resets: Mutex<Vec<Reason>>,
}

impl Seen {
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
    /// Listens on `port`, answering as `tag`.
    pub(crate) fn start(netns: &Namespace, port: u16, tag: &'static str) -> Result<Self> {
        Self::adapted(netns, port, tag, |_| {})
    }

    /// One that announces other settings.
    pub(crate) fn adapted(
        netns: &Namespace,
        port: u16,
        tag: &'static str,
        adapt: impl FnOnce(&mut server::Builder),
    ) -> Result<Self> {
        let mut builder = server::Builder::new();
        adapt(&mut builder);
        let (seen, go_away) = (Arc::<Seen>::default(), Arc::<Notify>::default());
        let state = (Arc::clone(&seen), Arc::clone(&go_away));
        let serving =
            Background::serve(netns, port, move |listener| serve(listener, builder, tag, state))?;
        Ok(Self { seen, go_away, _serving: serving })
    }

    /// Asks the clients that are connected to open no more streams.
    pub(crate) fn go_away(&self) {
        self.go_away.notify_waiters();
    }

    /// Connections end with the process's.
    pub(crate) fn die(self) {}
}

async fn serve(
    listener: TcpListener,
    builder: server::Builder,
    tag: &'static str,
    (seen, go_away): (Arc<Seen>, Arc<Notify>),
) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a TCP stream");
        seen.connections.fetch_add(1, Ordering::Relaxed);
        let (builder, seen, go_away) = (builder.clone(), Arc::clone(&seen), Arc::clone(&go_away));
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
                    seen.ended.fetch_add(1, Ordering::Relaxed);
                    return;
                };
                let seen = Arc::clone(&seen);
                tokio::spawn(answer(request, respond, tag, seen));
            }
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    tag: &'static str,
    seen: Arc<Seen>,
) -> Option<()> {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path().to_owned();
    seen.requests().push(Request::from_parts(head, ()));
    let ok = || Response::builder().header("server-tag", tag).body(()).expect("a response");
    // CONNECT has none.
    let path = path.get(1..).unwrap_or("echo");
    let (what, number) = path.split_once('/').unwrap_or((path, "0"));
    let number: u32 = number.parse().unwrap_or(0);
    match what {
        // Everything is said again, as it comes, and how much it was behind it.
        "echo" => {
            let mut down = respond.send_response(ok(), false).ok()?;
            let mut count = 0;
            while let Some(data) = body.data().await {
                let data = match data {
                    Ok(data) => data,
                    Err(error) => {
                        seen.resets().extend(error.reason());
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
        // All is read, and what it was is told.
        "sink" => {
            let (count, sum) = read_all(&mut body).await.ok()?;
            let mut down = respond.send_response(ok(), false).ok()?;
            send_all(&mut down, format!("{tag} {count} {sum}").into(), true).await.ok()?;
        }
        // So many bytes are sent.
        "source" => {
            let mut down = respond.send_response(ok(), false).ok()?;
            let mut left = number as usize;
            while left > 0 {
                let n = left.min(16_000);
                left -= n;
                send_all(&mut down, pattern(n), left == 0).await.ok()?;
            }
        }
        // The stream is reset at once, or after the head and some data.
        "reset" => respond.send_reset(number.into()),
        "reset-late" => {
            let mut down = respond.send_response(ok(), false).ok()?;
            send_all(&mut down, "some".into(), false).await.ok()?;
            sleep(Duration::from_millis(50)).await;
            down.send_reset(number.into());
        }
        // Nothing is read, and the response never ends.
        "stuck" => {
            let mut down = respond.send_response(ok(), false).ok()?;
            let reason = poll_fn(|cx| down.poll_reset(cx)).await.ok()?;
            seen.resets().push(reason);
            drop(body);
        }
        // No head either.
        "silent" => {
            let reason = poll_fn(|cx| respond.poll_reset(cx)).await.ok()?;
            seen.resets().push(reason);
            drop(body);
        }
        // Answered before the request is read.
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
        // Another response comes with it, which nobody asked for.
        "push" => {
            let promised = Request::builder().uri("http://web/pushed").body(()).expect("a request");
            let mut pushed = respond.push_request(promised).ok()?;
            let mut down = respond.send_response(ok(), false).ok()?;
            send_all(&mut down, tag.into(), true).await.ok()?;
            let mut down = pushed.send_response(ok(), false).ok()?;
            let reason = poll_fn(|cx| down.poll_reset(cx)).await.ok()?;
            seen.resets().push(reason);
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

/// Bytes that tell where they were cut off or changed.
pub(crate) fn pattern(n: usize) -> Bytes {
    (0..n).map(|n| (n % 251) as u8).collect()
}

/// Sends all as fast as the other side takes it.
pub(crate) async fn send_all(
    to: &mut SendStream<Bytes>,
    mut data: Bytes,
    is_last: bool,
) -> Result<()> {
    while !data.is_empty() {
        to.reserve_capacity(data.len());
        let room = if to.capacity() > 0 {
            to.capacity()
        } else {
            poll_fn(|cx| to.poll_capacity(cx)).await.context("the stream is closed")??
        };
        let piece = data.split_to(room.min(data.len()));
        let ends = is_last && data.is_empty();
        to.send_data(piece, ends)?;
    }
    Ok(())
}

/// How many bytes there were, and a sum of them that tells their order.
pub(crate) async fn read_all(body: &mut RecvStream) -> Result<(usize, u64), h2::Error> {
    let (mut count, mut sum) = (0, 0_u64);
    while let Some(data) = body.data().await {
        let data = data?;
        for byte in &data {
            sum = sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
        count += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((count, sum))
}

/// The text of a body, and its trailers.
pub(crate) async fn read_text(body: &mut RecvStream) -> Result<(String, Option<HeaderMap>)> {
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        text.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((String::from_utf8(text)?, body.trailers().await?))
}
