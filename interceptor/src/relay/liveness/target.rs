//! Connections to targets: a side is dead when nothing has come from it for 30 s, although the
//! kernel has asked. Its socket then fails as after a reset, and the relay does what it does after
//! one.
//!
//! A frozen program has a kernel that answers, and so has a reader that pauses. Both live.

use std::{sync::Arc, time::Duration};

use interceptor_api::Side;

use crate::relay::{
    stats::PortStats,
    stream::{
        Stream,
        heard::{Heard, Keepalive},
    },
};

/// Silence after which a side that does not answer is dead.
const DEAD_AFTER: Duration = Duration::from_secs(30);
/// Minimum number of unanswered questions of the kernel. A single one may just be on its way.
const MIN_UNANSWERED: u8 = 2;
/// Time between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// How the kernel asks a side that is silent: often enough within [`DEAD_AFTER`].
const KEEPALIVE: Keepalive =
    Keepalive { after: Duration::from_secs(15), every: Duration::from_secs(5), probes: 9 };

/// A connection between a client and a target.
pub(super) struct Target {
    stats: Arc<PortStats>,
    is_asking: bool,
}

// === impl Target ===

impl Target {
    pub(super) fn new(stats: &Arc<PortStats>) -> Self {
        Self { stats: Arc::clone(stats), is_asking: false }
    }

    /// Gives up a dead side. Returns how long to wait until the next look, if there is one.
    pub(super) fn look(&mut self, client: &Stream, target: &Stream) -> Option<Duration> {
        let sides = [(Side::Client, client), (Side::Server, target)];
        if !self.is_asking {
            self.is_asking = true;
            sides.iter().for_each(|(_, stream)| stream.ask_when_silent(KEEPALIVE));
        }
        let dead = sides.into_iter().find(|(_, side)| side.heard().is_some_and(is_dead));
        let Some((side, stream)) = dead else { return Some(LOOK) };
        self.stats.silence(side);
        stream.give_up();
        None
    }
}

fn is_dead(Heard { silent_for, retransmissions, probes }: Heard) -> bool {
    silent_for >= DEAD_AFTER && retransmissions.max(probes) >= MIN_UNANSWERED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::stream::testing::Kind;

    #[test]
    fn a_side_is_dead_if_it_is_silent_although_it_was_asked() {
        let heard = |seconds, retransmissions, probes| {
            is_dead(Heard { silent_for: Duration::from_secs(seconds), retransmissions, probes })
        };
        assert!(heard(30, 0, 2) && heard(31, 7, 0));
        assert!(!heard(29, 9, 9), "too early");
        // A closed window is probed seldom after a while, and a probe may be on its way.
        assert!(!heard(60, 0, 0) && !heard(60, 0, 1) && !heard(60, 1, 0));
    }

    #[tokio::test]
    async fn sides_that_answer_are_looked_at_again() {
        let stats = Arc::new(PortStats::default());
        let (client, _peer) = Kind::Tcp.pair().await;
        let (target, _server) = Kind::Tcp.pair().await;
        let mut watched = Target::new(&stats);
        for _ in 0..2 {
            assert_eq!(watched.look(&client, &target), Some(LOOK));
        }
        assert_eq!(Side::ALL.map(|side| stats.silent(side)), [0, 0]);
    }
}
