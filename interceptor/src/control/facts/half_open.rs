//! Finding out that a silent target is back, so that no caller has to.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    backoff::Backoff,
    relay::{
        dial::{self, Ack},
        route::Destination,
        stats::{FellBack, Outcome},
        workload::Workload,
    },
};

/// The delays between tries, the first one from when the circuit opened.
const RETRY: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(2));

/// Waits for the destination's circuit to open, tries the target until it answers, and again.
///
/// `report` hears of both changes: true when callers go to the application, false when they reach the target again.
pub async fn keep_trying(
    workload: Arc<Workload>,
    destination: Arc<Destination>,
    report: impl Fn(bool),
) {
    loop {
        destination.tripped.notified().await;
        report(true);
        let mut retry = RETRY;
        while destination.circuit.is_open() {
            sleep(retry.failed()).await;
            match dial::to_addresses(&workload, &destination.addresses(), None, Ack::Immediate)
                .await
            {
                // A refusal is an answer: from here on asking costs a caller nothing.
                Ok(_) | Err(Outcome::FellBack(FellBack::TargetRefused)) => {
                    destination.circuit.answered();
                }
                Err(_) => {}
            }
        }
        report(false);
    }
}
