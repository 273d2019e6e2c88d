//! Finding out that a silent target is back, so that no caller has to.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::relay::{
    dial::{Ack, Purpose},
    target::Target,
    workload::Workload,
};

/// The first try after the circuit opened; each later one waits twice as long, up to [`SLOWEST`].
const FIRST: Duration = Duration::from_millis(250);
const SLOWEST: Duration = Duration::from_secs(2);

/// Waits for the target's circuit to open, tries the target until it answers, and again.
///
/// `report` hears of both changes: true when callers go to the application, false when they reach the target again.
pub async fn keep_trying(workload: Arc<Workload>, target: Arc<Target>, report: impl Fn(bool)) {
    loop {
        target.tripped().await;
        report(true);
        let mut pause = FIRST;
        while target.is_silent() {
            sleep(pause).await;
            pause = SLOWEST.min(pause * 2);
            // An answer, even a refusal, closes the circuit.
            let _ = target.dial(&workload, Purpose::HalfOpen, Ack::Immediate).await;
        }
        report(false);
    }
}
