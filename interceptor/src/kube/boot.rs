//! When the node was started. What is said of a pod from before then is not true of its network any more: another pod may
//! have its address by now.

use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

/// So long after its start the kubelet has renewed what is said of the node's pods. It ends what a clock can do that was set
/// in between, too.
const RECENT: Duration = Duration::from_secs(600);

/// When the node was started, if that was a short while ago.
#[must_use]
pub fn recent_boot() -> Option<SystemTime> {
    // Goes on while the machine sleeps.
    let uptime = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    (uptime < RECENT).then(|| SystemTime::now().checked_sub(uptime)).flatten()
}
