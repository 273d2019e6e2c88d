//! Whether a rule's target answers.
//!
//! The relay's workers note what the target shows to clients. This task asks it before the first
//! client comes, and in the background while it does not answer. So no client has to wait for it,
//! and the pod's condition is right without clients.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};

use super::hold::Hold;
use crate::{
    backoff::Backoff,
    relay::{answer::Answer, target::Target, workload::Workload},
};

/// The delays between checks while the target does not answer.
const RETRY: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(2));
/// Minimum time between two looks at what the workers note, which may change with each client.
const SAMPLE: Duration = Duration::from_millis(100);

/// Watches the target forever. Calls `report` with what to report of it, whenever that changes.
pub async fn watch(workload: Arc<Workload>, target: Arc<Target>, report: impl Fn(Answer)) {
    let (mut hold, mut retry) = (Hold::default(), RETRY);
    target.check(&workload).await;
    loop {
        let answer = target.answer();
        if let Some(news) = hold.see(answer, Instant::now()) {
            report(news);
        }
        if (answer, *hold.reported()) == (Answer::Accepts, Answer::Accepts) {
            retry.reset();
            target.answer_changed().await;
            if target.answer() == answer {
                sleep(SAMPLE).await;
            }
            continue;
        }
        let pause = match hold.due() {
            Some(due) => due.saturating_duration_since(Instant::now()).max(SAMPLE),
            None => retry.failed(),
        };
        tokio::select! {
            () = target.answer_changed() => {
                if target.answer() == answer {
                    hold.waver(Instant::now());
                }
                sleep(SAMPLE).await;
            }
            () = sleep(pause) => {
                target.check(&workload).await;
                // What the check found is read at once, and is no news for the next wait.
                let _ = target.answer_changed().now_or_never();
            }
        }
    }
}
