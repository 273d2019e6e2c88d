//! When the node was started. What is said of a pod from before then is not true of its network any more: another pod may
//! have its address by now.

use std::time::{Duration, Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};

/// So long after the daemon's start the kubelet has renewed what is said of the node's pods. It also ends what a clock does
/// that was set since the node or its pods were started.
pub const STATUS_GRACE: Duration = Duration::from_secs(600);

/// The start of the node, as long as it matters.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    at: SystemTime,
    until: Instant,
}

// === impl Boot ===

impl Boot {
    /// The start of this node, which matters from now on for as long as there is [`STATUS_GRACE`]. Nothing if the kernel can't say.
    #[must_use]
    pub fn of_this_node() -> Option<Self> {
        // Goes on while the machine sleeps.
        let uptime = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
        Some(Self::new(SystemTime::now().checked_sub(uptime)?, Instant::now() + STATUS_GRACE))
    }

    /// A start at `at` that matters until `until`.
    #[must_use]
    pub fn new(at: SystemTime, until: Instant) -> Self {
        Self { at, until }
    }

    /// Whether what was `started` then has not been started since, as far as it matters.
    #[must_use]
    pub fn is_after(&self, started: SystemTime) -> bool {
        Instant::now() < self.until && started < self.at
    }
}
