//! How long bytes of a client may wait for a decision.
//!
//! A rule can decide only when a request's head, or a ClientHello, is complete. Until then the app
//! gets nothing of it. A client that falls silent may not speak HTTP at all, and wait for an answer
//! to the bytes that are held. So silence ends the wait, and the app gets them.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use interceptor_wire::{Opening, opening};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::policy::Silence;

/// Bytes wait at most for this many times the silence that ends the wait, however often more
/// arrive.
const MAX_SILENCES: u32 = 10;

/// What held bytes are the beginning of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// A connection.
    Connection,
    /// A request, or what may be one.
    Request,
}

/// The wait of the bytes that are held at present. Without such bytes it has no timer.
#[derive(Debug, Default)]
pub struct Hold(Option<Wait>);

#[derive(Debug)]
struct Wait {
    began: Instant,
    /// Number of bytes held at the last poll.
    len: usize,
    ends: Pin<Box<Sleep>>,
}

/// The silence that ends the wait of these bytes.
fn silence_behind(bytes: &[u8], begins: Begins, silence: Silence) -> Duration {
    let is_certain = match opening(bytes) {
        Opening::Http1 => has_start_line(bytes),
        Opening::Http2Preface | Opening::Tls | Opening::Proxy => begins == Begins::Connection,
        Opening::Undecided | Opening::Other => false,
    };
    if is_certain { silence.head } else { silence.opening }
}

/// Whether a line is complete that is not empty.
fn has_start_line(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        rest = after;
    }
    rest.contains(&b'\n')
}

// === impl Hold ===

impl Hold {
    /// Notes that `bytes` are held. The wait begins again with each change.
    pub fn note(&mut self, bytes: &[u8], begins: Begins, silence: Silence) {
        let len = bytes.len();
        if self.0.as_ref().is_some_and(|wait| wait.len == len) {
            return;
        }
        let now = Instant::now();
        let began = self.0.as_ref().map_or(now, |wait| wait.began);
        let silence = silence_behind(bytes, begins, silence);
        let ends = (now + silence).min(began + silence * MAX_SILENCES);
        match &mut self.0 {
            Some(wait) => {
                wait.len = len;
                wait.ends.as_mut().reset(ends);
            }
            wait => *wait = Some(Wait { began, len, ends: Box::pin(sleep_until(ends)) }),
        }
    }

    /// Nothing is held any more.
    pub fn end(&mut self) {
        self.0 = None;
    }

    /// Ready when the bytes have waited for long enough.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(wait) => wait.ends.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// Waits until the bytes have waited for long enough.
    pub async fn ended(&mut self) {
        poll_fn(|cx| self.poll_ended(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tokio::time::timeout;

    use super::*;

    const SILENCE: Silence =
        Silence { opening: Duration::from_millis(100), head: Duration::from_secs(1) };

    #[rstest]
    #[case::java_debugger("JDWP-Handshake", SILENCE.opening)]
    #[case::empty_line("\r\n", SILENCE.opening)]
    #[case::half_a_start_line("GET /index.html HTTP/1", SILENCE.opening)]
    #[case::start_line("GET / HTTP/1.1\r\n", SILENCE.head)]
    #[case::start_line_behind_an_empty_one("\r\nGET / HTTP/1.1\r\nHost: a", SILENCE.head)]
    #[case::tls("\u{16}\u{3}\u{1}", SILENCE.head)]
    #[case::first_byte_of_tls("\u{16}", SILENCE.opening)]
    #[case::half_a_preface("PRI * HTTP/2.0\r\n\r\n", SILENCE.opening)]
    #[case::proxy_header("PROXY TCP4 192.0.2.7 ", SILENCE.head)]
    fn the_wait_depends_on_what_the_bytes_may_be(#[case] bytes: &str, #[case] expected: Duration) {
        assert_eq!(silence_behind(bytes.as_bytes(), Begins::Connection, SILENCE), expected);
    }

    #[rstest]
    #[case::start_line("GET / HTTP/1.1\r\n", SILENCE.head)]
    #[case::tls("\u{16}\u{3}\u{1}", SILENCE.opening)]
    #[case::proxy_header("PROXY TCP4 192.0.2.7 ", SILENCE.opening)]
    fn a_later_request_is_http1_or_something_else(#[case] bytes: &str, #[case] expected: Duration) {
        assert_eq!(silence_behind(bytes.as_bytes(), Begins::Request, SILENCE), expected);
    }

    #[tokio::test]
    async fn each_change_begins_the_wait_again_up_to_a_maximum() {
        let (mut hold, began) = (Hold::default(), Instant::now());
        let mut held = Vec::new();
        loop {
            held.push(b'a');
            hold.note(&held, Begins::Connection, SILENCE);
            // Noting the same bytes again changes nothing.
            hold.note(&held, Begins::Connection, SILENCE);
            if timeout(SILENCE.opening / 2, hold.ended()).await.is_ok() {
                break;
            }
        }
        assert!(held.len() > 2, "ended after {} bytes", held.len());
        assert!(began.elapsed() >= SILENCE.opening * 2, "ended after {:?}", began.elapsed());
        hold.end();
        let (again, began) = (Instant::now(), began.elapsed());
        hold.note(b"a", Begins::Connection, SILENCE);
        hold.ended().await;
        assert!(again.elapsed() >= SILENCE.opening && began < SILENCE.opening * 20, "{began:?}");
    }
}
