//! Any bytes are the first frame of a side, the beginning of one, or neither. The settings of a
//! side configure a client and a server that promise no more than they may. Client and server end
//! for any bytes from their peer.
//!
//! The first byte is the size of the reads. The second one selects the sender of the rest: a
//! client, after its preface, or an app. The rest also serves as the settings of the other side.
//!
//! The daemon's source is included here, because a dependency on `interceptor` would build the
//! kernel programs.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::RecvStream;
use http::{Request, Response};
use interceptor_wire::opening::HTTP2_PREFACE as PREFACE;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::settings::{FirstFrame, Settings};

#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../../../interceptor/src/relay/http2/settings.rs"]
mod settings;

/// Maximum number of polls. It is far above the number for any input, each byte of which can begin
/// one frame.
const MAXIMUM_POLLS: usize = 100_000;

/// A peer that has sent all its bytes and receives everything.
struct Peer<'a> {
    /// The bytes that were not read yet.
    sent: &'a [u8],
    /// Maximum size of one read or write, in bytes.
    size: usize,
    received: Vec<u8>,
}

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let [size, is_client, bytes @ ..] = bytes else { return };
    let size = 1 + 4 * usize::from(*size);
    let first = FirstFrame::read(bytes);
    for end in 0..bytes.len().min(200) {
        let early = FirstFrame::read(&bytes[..end]);
        assert!(
            early == FirstFrame::Partial || early == first,
            "{end} bytes: {early:?}, all: {first:?}"
        );
    }
    let settings = match first {
        FirstFrame::Settings(settings, length) => {
            assert!(length <= bytes.len());
            check(&settings);
            settings
        }
        FirstFrame::Partial | FirstFrame::Other => Settings::default(),
    };
    if is_client % 2 == 0 {
        run_server(&settings, [PREFACE, bytes].concat().as_slice(), size);
    } else {
        run_client(&settings, bytes, size);
    }
}

/// Checks that settings stay the same when they are encoded and read again, and that guarded ones
/// are within bounds.
fn check(settings: &Settings) {
    let guarded = settings.guarded();
    for settings in [settings, &guarded] {
        let opening = settings.opening();
        let frame = opening.strip_prefix(PREFACE).expect("a preface");
        let FirstFrame::Settings(read, length) = FirstFrame::read(frame) else {
            panic!("{settings:?}: {frame:?}")
        };
        assert_eq!(length, frame.len());
        assert_eq!(read.opening(), opening);
        assert_eq!(read.stream_window(), settings.stream_window());
    }
    assert_eq!(guarded.guarded(), guarded);
    assert!(settings.server_stream_window() <= 4 << 20 && guarded.stream_window() <= 4 << 20);
}

/// Sends all bytes to a server, which answers each request and reads its content.
fn run_server(settings: &Settings, sent: &[u8], size: usize) {
    let cx = &mut Context::from_waker(Waker::noop());
    let mut handshake =
        pin!(settings.server().handshake::<_, Bytes>(Peer { sent, size, received: Vec::new() }));
    let Some(mut connection) = until_ready(|| handshake.as_mut().poll(cx)).ok() else { return };
    let mut bodies = Vec::new();
    until_ready(|| {
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, mut respond)))) => {
                    if let Ok(mut down) = respond.send_response(Response::new(()), false) {
                        let _ = down.send_data(Bytes::from_static(b"answer"), true);
                    }
                    bodies.push(request.into_body());
                }
                // An error ends the connection.
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        bodies.retain_mut(|body| drain(body, cx).is_pending());
        Poll::Pending
    });
}

/// Sends all bytes to a client that has two requests.
fn run_client(settings: &Settings, sent: &[u8], size: usize) {
    let cx = &mut Context::from_waker(Waker::noop());
    let mut handshake =
        pin!(settings.client().handshake::<_, Bytes>(Peer { sent, size, received: Vec::new() }));
    let Some((mut sender, connection)) = until_ready(|| handshake.as_mut().poll(cx)).ok() else {
        return;
    };
    let mut connection = pin!(connection);
    let (mut responses, mut bodies) = (Vec::new(), Vec::new());
    for is_all in [true, false] {
        let request = Request::post("http://web/").body(()).expect("a request");
        if let Ok((response, mut up)) = sender.send_request(request, is_all) {
            if !is_all {
                let _ = up.send_data(Bytes::from_static(b"question"), true);
            }
            responses.push(response);
        }
    }
    drop(sender);
    until_ready(|| {
        let end = connection.as_mut().poll(cx);
        responses.retain_mut(|response| {
            while let Poll::Ready(Some(Ok(_))) = response.poll_informational(cx) {}
            match Pin::new(response).poll(cx) {
                Poll::Ready(response) => {
                    bodies.extend(response.map(Response::into_body));
                    false
                }
                Poll::Pending => true,
            }
        });
        bodies.retain_mut(|body| drain(body, cx).is_pending());
        end.map(drop)
    });
    // No response or body waits for a connection that has ended.
    assert!(responses.is_empty() && bodies.is_empty(), "{} and {}", responses.len(), bodies.len());
}

/// Reads the available part of a body. Ready at its end.
fn drain(body: &mut RecvStream, cx: &mut Context<'_>) -> Poll<()> {
    while let Poll::Ready(data) = body.poll_data(cx) {
        match data {
            Some(Ok(data)) => {
                body.flow_control().release_capacity(data.len()).expect("these bytes were read");
            }
            Some(Err(_)) => return Poll::Ready(()),
            None => return body.poll_trailers(cx).map(drop),
        }
    }
    Poll::Pending
}

/// Polls until the future is ready, because there are no wake-ups here.
fn until_ready<T>(mut poll: impl FnMut() -> Poll<T>) -> T {
    for _ in 0..MAXIMUM_POLLS {
        if let Poll::Ready(ready) = poll() {
            return ready;
        }
    }
    panic!("the connection does not end");
}

// === impl Peer ===

impl AsyncRead for Peer<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = self.size.min(self.sent.len()).min(buffer.remaining());
        let (piece, rest) = self.sent.split_at(n);
        buffer.put_slice(piece);
        self.sent = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let n = bytes.len().min(self.size);
        self.received.extend_from_slice(&bytes[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        // Each side begins with its settings.
        let frames = self.received.strip_prefix(PREFACE).unwrap_or(&self.received);
        let first = FirstFrame::read(frames);
        assert!(matches!(first, FirstFrame::Settings(..) | FirstFrame::Partial), "{first:?}");
    }
}
