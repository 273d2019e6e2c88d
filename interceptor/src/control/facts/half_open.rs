//! Dials a silent target in the background, so that no client has to wait for it.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    backoff::Backoff,
    relay::{
        dial::{Ack, Purpose},
        target::Target,
        workload::Workload,
    },
};

/// The delays between attempts. The first one begins when the circuit opens.
const RETRY: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(2));

/// Waits for the target's circuit to open, then dials the target until it answers. Repeats that
/// forever.
///
/// Calls `report` with true when clients begin to reach the app, and with false when they reach
/// the target again.
pub async fn keep_trying(workload: Arc<Workload>, target: Arc<Target>, report: impl Fn(bool)) {
    loop {
        target.tripped().await;
        report(true);
        let mut retry = RETRY;
        while target.is_silent() {
            sleep(retry.failed()).await;
            // An answer, even a refusal, closes the circuit.
            let _ = target.dial(&workload, Purpose::HalfOpen, Ack::Immediate).await;
        }
        report(false);
    }
}
