//! The window of a whole connection, which no stream that is held up may use up for the others.
//!
//! What was read of a stream and can't be sent on counts against two windows: the stream's, which
//! stops its sender, and the connection's, which would stop everybody's. The library gives both
//! back together, when the bytes are through. So each stream that is held up widens the
//! connection's by as much as it can hold: the others have theirs as before.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use super::settings::WINDOW;

/// What streams that are held up may take on top of [`WINDOW`] all together, in bytes. Beyond that
/// they do hold up the others: memory is not for the taking.
const MOST_HELD: u32 = 16 << 20;

/// Counts the streams whose bytes a peer has sent and nobody takes at present.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<AtomicU32>);

/// A stream that is held up.
pub(super) struct Hold<'a>(&'a AtomicU32);

/// The window towards one peer.
#[derive(Debug)]
pub(super) struct Window {
    held: Held,
    /// Of one stream, in bytes.
    stream: u32,
    /// As it was last announced, in bytes.
    announced: u32,
}

// === impl Held ===

impl Held {
    /// Notes a stream as held up until the guard is dropped.
    pub(super) fn hold(&self) -> Hold<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Hold(&self.0)
    }
}

// === impl Hold ===

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Window ===

impl Window {
    /// Of a connection on which a stream's window is `stream` bytes.
    pub(super) fn new(stream: u32) -> Self {
        Self { held: Held::default(), stream, announced: WINDOW }
    }

    pub(super) fn held(&self) -> Held {
        self.held.clone()
    }

    /// What the window is to be, in bytes, if that has changed.
    pub(super) fn change(&mut self) -> Option<u32> {
        let held = self.held.0.load(Ordering::Relaxed).saturating_mul(self.stream);
        let size = WINDOW + held.min(MOST_HELD);
        (std::mem::replace(&mut self.announced, size) != size).then_some(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_are_held_up_widen_the_window_up_to_a_limit() {
        let mut window = Window::new(65_535);
        let held = window.held();
        assert_eq!(window.change(), None);
        let one = held.hold();
        assert_eq!(window.change(), Some(WINDOW + 65_535));
        assert_eq!(window.change(), None);
        let many: Vec<_> = (0..1000).map(|_| held.hold()).collect();
        assert_eq!(window.change(), Some(WINDOW + MOST_HELD));
        drop((one, many));
        assert_eq!(window.change(), Some(WINDOW));
    }
}
