//! Finding out that a silent target is back, so that no caller has to.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::relay::{
    dial::{self, Ack},
    route::Destination,
    stats::{FellBack, Outcome},
    workload::Workload,
};

/// The first try after the circuit opened; each later one waits twice as long, up to [`SLOWEST`].
const FIRST: Duration = Duration::from_millis(250);
const SLOWEST: Duration = Duration::from_secs(2);

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
        let mut pause = FIRST;
        while destination.circuit.is_open() {
            sleep(pause).await;
            pause = SLOWEST.min(pause * 2);
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
