//! Is a byte really intercepted? A rule is called active only after probes on all its ports said so.

use std::{sync::Arc, time::Duration};

use interceptor_common::{port::Port, steal::Family};
use tokio::time::sleep;

use crate::{
    backoff::Backoff,
    relay::{canary::probe, workload::Workload},
};

/// The delays after a probe that failed.
const RETRY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

/// How far the proof has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// No probe has come back.
    UnderWay,
    /// Every port of the rule was intercepted.
    Proven,
    /// The last probe failed; the sentence says how. Tried again.
    Failed(String),
}

/// Canaries `ports` in every family that the workload has listeners for until all are proven, telling `report` of
/// every change.
pub async fn prove(workload: Arc<Workload>, ports: Vec<Port>, report: impl Fn(Proof)) {
    let mut retry = RETRY;
    loop {
        match probe_all(&workload, &ports).await {
            Ok(()) => return report(Proof::Proven),
            Err(message) => report(Proof::Failed(message)),
        }
        sleep(retry.failed()).await;
    }
}

async fn probe_all(workload: &Workload, ports: &[Port]) -> Result<(), String> {
    for family in [Family::V4, Family::V6] {
        if !workload.listeners.iter().any(|listener| listener.is_ipv4() == (family == Family::V4)) {
            continue;
        }
        for port in ports {
            probe(workload, family, port.number()).await.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
