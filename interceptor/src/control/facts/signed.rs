//! Which ports have a listener with TCP MD5 keys (RFC 2385), as BGP speakers set them.
//!
//! Such a listener ignores packets that its peers have not signed. The relay's listeners have no
//! keys, so they would ignore the signed ones: the port can't be redirected.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::relay::workload::Workload;

/// The time between two looks. An app may set keys whenever it likes.
const INTERVAL: Duration = Duration::from_secs(5);

/// The ports with such a listener. If the kernel does not list them, there are none.
pub fn ports(workload: &Workload) -> BTreeSet<u16> {
    workload.netns.signed_ports().unwrap_or_else(|error| {
        tracing::debug!(workload = %workload.name, %error, "can't list listening sockets");
        BTreeSet::new()
    })
}

/// Calls `changed` whenever these ports have changed. `known` are the first ones.
pub async fn watch(workload: Arc<Workload>, mut known: BTreeSet<u16>, changed: impl Fn()) {
    loop {
        sleep(INTERVAL).await;
        let now = ports(&workload);
        if now != known {
            known = now;
            changed();
        }
    }
}
