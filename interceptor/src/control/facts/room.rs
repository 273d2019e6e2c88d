//! Watches whether a rule has its maximum number of connections.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::relay::capacity::{Capacity, Full, Share};

/// The pause between two looks at a rule that is full. It may have connections again after each.
const PAUSE: Duration = Duration::from_millis(250);

/// Calls `report` with the maximum when the rule has reached it, and with `None` when it may have
/// connections again. Repeats that forever.
pub async fn keep_watching(
    capacity: Arc<Capacity>,
    share: Arc<Share>,
    report: impl Fn(Option<Full>),
) {
    loop {
        share.filled().await;
        report(share.full());
        loop {
            sleep(PAUSE).await;
            if capacity.has_room_for(&share) {
                break;
            }
        }
        share.reopen();
        report(None);
    }
}
