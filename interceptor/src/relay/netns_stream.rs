//! A stream whose end depends on whether its network namespace still exists.
//!
//! A FIN waits for the peer's acknowledgement. In a namespace that is gone no acknowledgement can
//! come, so the socket would stay with the kernel until the FIN times out. Such a socket is closed
//! with a reset instead. This is the only place with that rule; it holds for the client's side and
//! for upstream connections, however their task ends.

use std::{
    ops::Deref,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use super::stream::Stream;

/// Whether the network namespace of a workload is gone. Clones share the answer.
#[derive(Clone, Debug, Default)]
pub struct NetnsGone(Arc<AtomicBool>);

/// One end of a connection of a workload.
#[derive(Debug)]
pub struct NetnsStream {
    /// The only strong reference.
    stream: Arc<Stream>,
    gone: NetnsGone,
}

// === impl NetnsGone ===

impl NetnsGone {
    /// From now on all streams of the workload are closed with a reset.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl NetnsStream ===

impl NetnsStream {
    /// Takes charge of how `stream` is closed.
    #[must_use]
    pub fn new(stream: Stream, gone: &NetnsGone) -> Self {
        Self { stream: Arc::new(stream), gone: gone.clone() }
    }

    /// The stream, as long as it is open.
    #[must_use]
    pub fn watched(&self) -> Weak<Stream> {
        Arc::downgrade(&self.stream)
    }
}

impl Deref for NetnsStream {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.stream
    }
}

impl Drop for NetnsStream {
    fn drop(&mut self) {
        if self.gone.is_set() {
            self.stream.reset_on_close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[tokio::test]
    async fn a_stream_ends_with_fin_while_its_namespace_exists_and_with_a_reset_after() {
        let gone = NetnsGone::default();
        let ((kept, kept_peer), (cut, cut_peer)) = (Stream::pair(), Stream::pair());
        let (kept, cut) = (NetnsStream::new(kept, &gone), NetnsStream::new(cut, &gone));
        drop(kept);
        gone.set();
        drop(cut);
        assert_eq!(kept_peer.read_more(&mut Vec::new()).await.expect("an end"), 0);
        let error = cut_peer.read_more(&mut Vec::new()).await.expect_err("a reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
