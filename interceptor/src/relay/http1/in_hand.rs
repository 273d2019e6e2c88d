//! The requests that a new connection to a target got, as long as the app can get them instead.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use interceptor_wire::http1;
use tokio::time::{Instant, Sleep, sleep};

use crate::relay::{route::Route, target_closed::CLOSED_WITHIN};

/// Maximum number of bytes that are kept for the app.
const MAX_IN_HAND: usize = http1::MAX_HEAD;

/// The idempotent methods of RFC 9110, section 9.2.2.
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"];

/// What a new connection to a target got.
pub(super) struct InHand {
    pub(super) route: Arc<Route>,
    /// The bytes of the requests.
    pub(super) sent: Vec<u8>,
    /// The number of requests that began.
    pub(super) requests: usize,
    /// Ends the time for which the target may close.
    ends: Pin<Box<Sleep>>,
}

// === impl InHand ===

impl InHand {
    /// For a connection that was just made.
    pub(super) fn new(route: &Arc<Route>) -> Self {
        let ends = Box::pin(sleep(CLOSED_WITHIN));
        Self { route: Arc::clone(route), sent: Vec::new(), requests: 0, ends }
    }

    /// Notes a request that the target gets. False if it can't be repeated.
    pub(super) fn request(&mut self, method: &str) -> bool {
        let is_idempotent = IDEMPOTENT.contains(&method);
        self.requests += usize::from(is_idempotent);
        is_idempotent
    }

    /// Keeps bytes that the target gets. False if they are too many.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> bool {
        let fits = self.sent.len() + bytes.len() <= MAX_IN_HAND;
        if fits {
            self.sent.extend_from_slice(bytes);
        }
        fits
    }

    /// Whether there is something to repeat, and the time has not ended.
    pub(super) fn may_be_repeated(&self) -> bool {
        self.requests > 0 && Instant::now() < self.ends.deadline()
    }

    /// Ready when the time has ended.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.ends.as_mut().poll(cx)
    }
}
