//! Whether anything listens on the ports of a rule that the pod does not declare: a port that is
//! neither declared nor listened on is probably a mistake.

use std::{sync::Arc, time::Duration};

use interceptor_common::port::Port;
use tokio::time::sleep;

use crate::{backoff::Backoff, relay::workload::Workload};

/// The delays between two looks. The app may not have started yet.
const RETRY: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(15));

/// Reports which of `ports` nothing listens on, whenever that changes, until something has listened
/// on each. If the kernel does not list listeners, it reports none of the ports.
pub async fn watch(workload: Arc<Workload>, ports: Vec<Port>, report: impl Fn(Vec<Port>)) {
    let (mut unheard, mut retry, mut first) = (ports, RETRY, true);
    loop {
        let before = unheard.len();
        match workload.netns.listening_ports() {
            Ok(listening) => unheard.retain(|port| !listening.contains(&port.number())),
            Err(error) => {
                tracing::debug!(workload = %workload.name, %error, "can't list listening sockets");
                unheard.clear();
            }
        }
        if first || unheard.len() != before {
            report(unheard.clone());
        }
        if unheard.is_empty() {
            return;
        }
        first = false;
        sleep(retry.failed()).await;
    }
}
