//! Connections to the app: a client that has vanished is found out by the app's own keepalive.
//!
//! Without the relay, the app's kernel would probe the client. With it, the relay's kernel answers
//! in the client's place. The app's times could be copied, but the kernel tells only the first of
//! them. So the relay asks the client as often as the app does, and passes its silence on: it
//! becomes deaf towards the app until the client answers. The app's probes then get no answer. Its
//! kernel gives the connection up at the same time and with the same error as without the relay. A
//! client that comes back in time lives.
//!
//! An app without keepalive would never notice. Such clients keep the kernel's default (two
//! hours), with which sockets are accepted.
//!
//! A client that vanishes while bytes are on their way to it is none of this: the kernel sends
//! them again for about 15 minutes, as it would for the app.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    netns::sock_diag::{Ends, SockDiag, Timer},
    relay::{
        app_keepalive::BELIEVED_FOR,
        stream::{Stream, heard::Keepalive},
        workload::Workload,
    },
};

/// Age up to which the timer of the app's socket shows its keepalive. Later, the time that is left
/// depends on when bytes have passed.
const YOUNG: Duration = Duration::from_secs(2);
/// Minimum and maximum time between two looks at a client.
const LOOK: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
/// Time between two looks at a client that is silent: the app's answer waits for this one.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Minimum number of unanswered probes in a row. A single one may be lost.
const MIN_UNANSWERED: u8 = 2;
/// Maximum time between two probes of a silent client.
const MAX_EVERY: Duration = Duration::from_secs(10);
/// The kernel's maximum of probes without an answer. The app gives up before.
const PROBES: u32 = 127;

/// A connection between a client and the app.
pub(super) struct App {
    workload: Arc<Workload>,
    accepted: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The app's keepalive is not known.
    New,
    /// The client is asked after this silence.
    Asked { after: Duration },
    /// The client has not answered, and the relay is deaf towards the app.
    Deaf { after: Duration },
}

/// What a look at the app's socket tells of its keepalive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sample {
    /// It has none.
    Nothing,
    /// Its first probe comes after this silence.
    After(Duration),
    /// It does not show at present.
    NotNow,
}

// === impl App ===

impl App {
    pub(super) fn new(workload: &Arc<Workload>, accepted: Instant) -> Self {
        Self { workload: Arc::clone(workload), accepted, state: State::New }
    }

    /// Passes the client's silence on, or its end. Returns how long to wait until the next look, if
    /// there is one.
    pub(super) fn look(&mut self, client: &Stream, app: &Stream) -> Option<Duration> {
        match self.state {
            State::New => {
                let after = match self.learn(app) {
                    Sample::After(after) => after,
                    // A younger connection may show another one.
                    Sample::Nothing => return Some(BELIEVED_FOR),
                    Sample::NotNow if self.accepted.elapsed() < YOUNG => return Some(YOUNG / 4),
                    Sample::NotNow => return Some(LOOK[1]),
                };
                ask(client, after, after.min(MAX_EVERY));
                self.state = State::Asked { after };
                Some(pause(after))
            }
            State::Asked { after } => {
                let heard = client.heard()?;
                if heard.probes < MIN_UNANSWERED || heard.silent_for < after {
                    return Some(pause(after).max(after.saturating_sub(heard.silent_for)));
                }
                app.deafen(true);
                ask(client, after, MAX_EVERY);
                self.state = State::Deaf { after };
                Some(LOOK_AGAIN)
            }
            State::Deaf { after } => {
                if client.heard()?.probes > 0 {
                    return Some(LOOK_AGAIN);
                }
                app.deafen(false);
                ask(client, after, after.min(MAX_EVERY));
                self.state = State::Asked { after };
                Some(pause(after))
            }
        }
    }
    /// The app's keepalive on this connection, as far as is known.
    fn learn(&self, app: &Stream) -> Sample {
        let Some((own, peer)) = app.addresses() else { return Sample::Nothing };
        let known = &self.workload.app_keepalive;
        let now = Instant::now();
        if let Some(after) = known.known(peer.port(), now) {
            return after.map_or(Sample::Nothing, Sample::After);
        }
        if now - self.accepted >= YOUNG {
            return Sample::NotNow;
        }
        // As the app's socket sees it.
        let ends = Ends { local: peer, peer: own };
        let opened = self.workload.netns.enter(SockDiag::open);
        let timer = match opened.map(|diag| diag.map(|mut diag| diag.timer_of(ends))) {
            Ok(Ok(Ok(timer))) => timer,
            // The app is in another namespace, or the kernel does not tell.
            _ => Timer::None,
        };
        let sample = Sample::of(timer, now - self.accepted);
        match sample {
            Sample::NotNow => {}
            Sample::Nothing => known.learn(peer.port(), None, now),
            Sample::After(after) => known.learn(peer.port(), Some(after), now),
        }
        sample
    }
}

// === impl Sample ===

impl Sample {
    /// What the timer of the app's socket tells, on a connection of this age.
    fn of(timer: Timer, age: Duration) -> Self {
        match timer {
            Timer::Keepalive(left) => {
                // It ran for a part of the age: the app may have accepted later. The times of
                // keepalive are whole seconds.
                let after = (left + age / 2).as_secs_f64().ceil().max(1.0);
                Self::After(Duration::from_secs_f64(after))
            }
            Timer::None => Self::Nothing,
            Timer::Other => Self::NotNow,
        }
    }
}

/// Asks the client after this silence, and then `every` so long.
fn ask(client: &Stream, after: Duration, every: Duration) {
    client.ask_when_silent(Keepalive { after, every, probes: PROBES });
}

/// The time between two looks at a client that is asked after this silence.
fn pause(after: Duration) -> Duration {
    let [min, max] = LOOK;
    (after / 2).clamp(min, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn the_time_of_a_young_connection_is_found_to_the_second() {
        for (left, age, after) in [
            (14_700, 300, 15),
            (13_700, 1_300, 15),
            (700, 300, 1),
            (1, 999, 1),
            (7_199_400, 600, 7200),
        ] {
            let sample = Sample::of(Timer::Keepalive(ms(left)), ms(age));
            assert_eq!(sample, Sample::After(Duration::from_secs(after)), "{left} {age}");
        }
        assert_eq!(Sample::of(Timer::None, ms(300)), Sample::Nothing);
        assert_eq!(Sample::of(Timer::Other, ms(300)), Sample::NotNow);
    }

    #[test]
    fn a_client_is_looked_at_as_often_as_it_is_worth() {
        assert_eq!(
            [1, 2, 15, 7200].map(|after| pause(Duration::from_secs(after))),
            [LOOK[0], LOOK[0], ms(7_500), LOOK[1]]
        );
    }
}
