//! Targets that accept a connection and close it before their first byte.
//!
//! Something on the way may accept in the target's place, and close when the target is away:
//! docker's published port, `ssh -R`, some VPNs. The app gets what can be repeated. Here that is a
//! connection of which nothing was sent on; in `http1/repeat.rs` it is idempotent requests. A
//! target that is slow to answer is not away.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    dial::Ack,
    pipe::Before,
    route::Route,
    stats::{FellBack, Outcome},
    stolen::Stolen,
    stream::Stream,
    upstream::Upstream,
};
/// Maximum time from the handshake to the target's end, for which the app gets the connection.
pub(super) const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// The outcome for the rule whose target has closed.
pub(super) const TARGET_CLOSED: Outcome = Outcome::FellBack(FellBack::TargetClosed);

/// What happened first on a new connection to a target.
enum First {
    /// A side sent bytes, or the client ended, or nothing happened within [`CLOSED_WITHIN`].
    Going,
    /// FIN of the target.
    Ended,
    /// The target's connection failed.
    Broke,
    /// The client's connection failed.
    ClientBroke,
}

// === impl First ===

impl First {
    /// Waits for it. What was read goes to `before`.
    async fn of(client: &Stream, target: &Stream, before: &mut Before) -> Self {
        let Before { up, down, .. } = before;
        let first = async {
            tokio::select! {
                biased;
                read = target.read_more(down) => match read {
                    Ok(0) => Self::Ended,
                    Ok(_) => Self::Going,
                    Err(_) => Self::Broke,
                },
                read = client.read_more(up) => match read {
                    // A pipe meets the same FIN again.
                    Ok(_) => Self::Going,
                    Err(_) => Self::ClientBroke,
                },
            }
        };
        timeout(CLOSED_WITHIN, first).await.unwrap_or(Self::Going)
    }
}

// === impl Stolen ===

impl Stolen {
    /// Hands the whole connection to a target that has just accepted it. The app gets it if the
    /// target closes it before anything was sent on.
    pub(super) async fn hand_over_or_repeat(&self, route: &Arc<Route>, target: Upstream) {
        // The target may wait for it before it sends anything.
        let preface = self.preface(route);
        let mut before = Before::default();
        let first = match target.stream.write_all(&preface).await {
            Ok(()) => First::of(&self.client, &target.stream, &mut before).await,
            Err(_) => First::Broke,
        };
        if matches!(first, First::Ended | First::Broke)
            && let Ok(app) = self.dial_app(Ack::Immediate).await
        {
            drop(target);
            self.failed(route, TARGET_CLOSED);
            return self.pass_on(&app, before).await;
        }
        self.reached(route);
        match first {
            First::Going | First::Ended => self.tunnel(route, &target, before).await,
            First::Broke => self.client.reset_on_close(),
            First::ClientBroke => target.stream.reset_on_close(),
        }
    }
}
