//! Finds out whether a rule's target leads back to the rule's own ports, by a way that hides where
//! connections come from: a Service, another redirected pod, a proxy.
//!
//! A probe connects to the target and sends nothing. If a connection arrives at the rule's ports,
//! the probe resets its own after a random time. Then it sees whether the other one ends, too. The
//! two are one if that happens in each of [`ROUNDS`] rounds, and as fast as in the others. No byte
//! ever reaches the target.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use interceptor_common::port::Port;
use tokio::time::{Instant, sleep, timeout};

use crate::relay::{
    dial::{Ack, Purpose},
    loop_watch::Watch,
    probe_turn::Turn,
    suspicion::{Dismissal, USUAL_PATIENCE},
    target::Target,
    workload::Workload,
};

/// The time in which the clients of an ordinary target go on coming. Then there is no probe.
const OBSERVED: Duration = Duration::from_millis(10);
/// Maximum time of the first look at a target. A silent one is no loop.
const FIRST_LOOK: Duration = Duration::from_millis(100);
/// The number of rounds that prove a loop, of a probe with the usual patience and of longer ones.
const ROUNDS: (usize, usize) = (4, 6);
/// How long a probe's connection stays open after another one has arrived, in milliseconds.
const OPEN_MS: (u64, u64) = (5, 20);
/// How much slower than the fastest one a step may be: this many times, and [`SLACK`].
const FACTOR: u32 = 3;
/// The part of the patience that a step may take longer. The scheduler delays threads of a busy
/// node.
const SLACK: u32 = 3;

/// Probes the target whenever there is a suspicion, until there is a loop. Calls `report` then.
pub async fn keep_watching(
    workload: Arc<Workload>,
    target: Arc<Target>,
    ports: Vec<Port>,
    report: impl Fn(()),
) {
    let suspicion = target.suspicion();
    while !suspicion.is_loop() {
        suspicion.raised().await;
        let turn = match workload.probe_turn.try_take() {
            Some(turn) => turn,
            None => {
                suspicion.let_pass();
                workload.probe_turn.take().await
            }
        };
        suspicion.begin_probe();
        sleep(OBSERVED).await;
        let is_contradicted = suspicion.is_contradicted();
        if is_contradicted {
            // No client waits any longer. A loop with many clients looks the same, though.
            suspicion.dismiss(Dismissal::Contradicted);
        }
        if leads_back(&workload, &target, &ports, &turn).await {
            suspicion.confirm();
        }
        if !is_contradicted {
            suspicion.dismiss(Dismissal::NotFound);
        }
    }
    report(());
}

/// Looks whether connections to a rule's target arrive at its own ports, when these have just been
/// taken. `steered` is the number of connections that the kernel has steered to the relay so far.
///
/// The target's program does not notice: the handshake is not completed. So this finds only ways
/// without a program between, such as a Service.
pub async fn look_first(workload: &Workload, target: &Target, steered: impl Fn() -> u64) {
    let before = steered();
    let probe = target.dial(workload, Purpose::Probe, Ack::Delayed);
    let probe = timeout(FIRST_LOOK, probe).await;
    let came_back = steered() != before;
    if let Ok(Ok(probe)) = probe {
        probe.stream.reset_on_close();
    }
    if came_back {
        // A client may have come at the same time.
        target.suspicion().settle(&workload.probe_turn).await;
    }
}

/// Whether connections to the target arrive at `ports` of the workload.
async fn leads_back(workload: &Workload, target: &Target, ports: &[Port], turn: &Turn<'_>) -> bool {
    let patience = target.suspicion().patience();
    let watch = workload.loop_watch.begin(ports, turn);
    let rounds = if patience > USUAL_PATIENCE { ROUNDS.1 } else { ROUNDS.0 };
    let mut delays = Vec::new();
    for _ in 0..rounds {
        let Some(round) = round(workload, target, &watch, patience).await else { return false };
        delays.extend(round);
    }
    are_alike(&delays, patience / SLACK)
}

/// Opens one connection to the target and resets it. Returns after which time another one arrived,
/// and after which time that one ended. `None` if none did within `patience` each.
async fn round(
    workload: &Workload,
    target: &Target,
    watch: &Watch<'_>,
    patience: Duration,
) -> Option<[Duration; 2]> {
    watch.forget();
    let probe = target.dial(workload, Purpose::Probe, Ack::Immediate).await.ok()?;
    let opened = Instant::now();
    let arrived = watch.first_arrival(patience).await?;
    sleep(random(OPEN_MS)).await;
    let open = watch.open();
    if open.is_empty() {
        return None;
    }
    let closed = Instant::now();
    probe.stream.reset_on_close();
    drop(probe);
    let ended = watch.first_end(&open, patience).await?;
    Some([arrived.saturating_duration_since(opened), ended.saturating_duration_since(closed)])
}

/// Whether these delays are those of one way. Connections of others come and go at any time.
fn are_alike(delays: &[Duration], slack: Duration) -> bool {
    let (least, most) = (delays.iter().min(), delays.iter().max());
    matches!((least, most), (Some(least), Some(most)) if *most <= *least * FACTOR + slack)
}

/// A duration that others can't predict, from `min` to `max` milliseconds.
fn random((min, max): (u64, u64)) -> Duration {
    let steps = (max - min) * 1000;
    Duration::from_micros(min * 1000 + RandomState::new().hash_one(min) % steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(delays: &[u64]) -> Vec<Duration> {
        delays.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn delays_of_one_way_are_alike() {
        let slack = Duration::from_millis(10);
        assert!(are_alike(&millis(&[0, 1, 0, 2, 9]), slack));
        assert!(are_alike(&millis(&[20, 25, 60]), slack));
        assert!(!are_alike(&millis(&[0, 1, 0, 25]), slack));
        assert!(!are_alike(&[], slack));
    }

    #[test]
    fn a_probe_is_open_for_a_time_that_changes() {
        let times: Vec<_> = (0..20).map(|_| random(OPEN_MS)).collect();
        let (min, max) = OPEN_MS;
        let within = Duration::from_millis(min)..Duration::from_millis(max);
        assert!(times.iter().all(|time| within.contains(time)), "{times:?}");
        assert!(times.iter().any(|time| *time != times[0]), "{times:?}");
    }
}
