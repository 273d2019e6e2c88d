//! When the node booted. Until the kubelet has refreshed the status of a pod, the status describes
//! the pod's network before the boot. Another pod may have its address by now.

use std::time::{Duration, Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};

/// How long after its start the daemon distrusts statuses from before the boot.
///
/// By then the kubelet has refreshed the status of the node's pods. It also bounds the effect of a
/// clock change since boot.
pub const STATUS_GRACE: Duration = Duration::from_secs(600);

/// The time of the boot, and until when statuses from before it are distrusted.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    at: SystemTime,
    until: Instant,
}

// === impl Boot ===

impl Boot {
    /// The boot of this node. Statuses from before it are distrusted for [`STATUS_GRACE`] from now
    /// on.
    ///
    /// `None` if the kernel does not report the time since the boot.
    #[must_use]
    pub fn of_this_node() -> Option<Self> {
        // CLOCK_BOOTTIME includes the time that the machine was suspended.
        let uptime = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
        Some(Self::new(SystemTime::now().checked_sub(uptime)?, Instant::now() + STATUS_GRACE))
    }

    /// A boot at `at`. Statuses from before it are distrusted until `until`.
    #[must_use]
    pub fn new(at: SystemTime, until: Instant) -> Self {
        Self { at, until }
    }

    /// Whether a status about a pod that started at `started` is distrusted.
    #[must_use]
    pub fn is_after(&self, started: SystemTime) -> bool {
        Instant::now() < self.until && started < self.at
    }
}
