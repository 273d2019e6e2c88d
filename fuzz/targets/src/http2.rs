//! Any bytes are the first frame of a side, the beginning of one, or neither; what a side announces makes a client and a
//! server that promise no more than they may; and these come to an end whatever they are told.
//!
//! The first byte says how large the pieces are. The second one whether the rest is what a caller says after the preface
//! or what an application says; each is also taken for the announcement of the other side.
//!
//! The sources are included instead of depending on `interceptor`, which would build the kernel programs.

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

#[path = "../../../interceptor/src/relay/http2/settings.rs"]
mod settings;

/// Far above what any input takes, each of whose bytes is at most one frame's beginning.
const MANY: usize = 100_000;

/// A peer that has said all at once and hears everything.
struct Peer<'a> {
    says: &'a [u8],
    /// In pieces of so many bytes.
    size: usize,
    heard: Vec<u8>,
}

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let [size, is_caller, bytes @ ..] = bytes else { return };
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
    if is_caller % 2 == 0 {
        serve(&settings, [PREFACE, bytes].concat().as_slice(), size);
    } else {
        call(&settings, bytes, size);
    }
}

/// What is announced again is the same, and within bounds once it is guarded.
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

/// Says all of it to a server, which answers each request and reads its content.
fn serve(settings: &Settings, says: &[u8], size: usize) {
    let cx = &mut Context::from_waker(Waker::noop());
    let mut handshake =
        pin!(settings.server().handshake::<_, Bytes>(Peer { says, size, heard: Vec::new() }));
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
                // An error of the connection is its end.
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        bodies.retain_mut(|body| drain(body, cx).is_pending());
        Poll::Pending
    });
}

/// Says all of it to a client that has two requests.
fn call(settings: &Settings, says: &[u8], size: usize) {
    let cx = &mut Context::from_waker(Waker::noop());
    let mut handshake =
        pin!(settings.client().handshake::<_, Bytes>(Peer { says, size, heard: Vec::new() }));
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
    // Nothing waits for a connection that is over.
    assert!(responses.is_empty() && bodies.is_empty(), "{} and {}", responses.len(), bodies.len());
}

/// Reads what there is of a body. Ready at its end.
fn drain(body: &mut RecvStream, cx: &mut Context<'_>) -> Poll<()> {
    while let Poll::Ready(data) = body.poll_data(cx) {
        match data {
            Some(Ok(data)) => {
                body.flow_control().release_capacity(data.len()).expect("as much as was read");
            }
            Some(Err(_)) => return Poll::Ready(()),
            None => return body.poll_trailers(cx).map(drop),
        }
    }
    Poll::Pending
}

/// Polls as long as it takes: nothing wakes anybody here.
fn until_ready<T>(mut poll: impl FnMut() -> Poll<T>) -> T {
    for _ in 0..MANY {
        if let Poll::Ready(ready) = poll() {
            return ready;
        }
    }
    panic!("it does not come to an end");
}

// === impl Peer ===

impl AsyncRead for Peer<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = self.size.min(self.says.len()).min(buffer.remaining());
        let (piece, rest) = self.says.split_at(n);
        buffer.put_slice(piece);
        self.says = rest;
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
        self.heard.extend_from_slice(&bytes[..n]);
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
        // Whatever else is said, each side begins as it has to.
        let said = self.heard.strip_prefix(PREFACE).unwrap_or(&self.heard);
        let first = FirstFrame::read(said);
        assert!(matches!(first, FirstFrame::Settings(..) | FirstFrame::Partial), "{first:?}");
    }
}
