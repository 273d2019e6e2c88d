//! The keepalive that an app has on the connections to its ports, as far as it was seen.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// How long it is believed that an app has the same keepalive on all connections to a port.
pub(super) const BELIEVED_FOR: Duration = Duration::from_secs(60);

/// The app's keepalive on the connections to each port: the silence before its first probe. `None`:
/// it has none.
#[derive(Debug, Default)]
pub struct AppKeepalive(Mutex<HashMap<u16, Learnt>>);

#[derive(Clone, Copy, Debug)]
struct Learnt {
    after: Option<Duration>,
    at: Instant,
}

// === impl AppKeepalive ===

impl AppKeepalive {
    /// What is known of a port.
    pub(super) fn known(&self, port: u16, now: Instant) -> Option<Option<Duration>> {
        let learnt = *self.0.lock().get(&port)?;
        (now - learnt.at < BELIEVED_FOR).then_some(learnt.after)
    }

    /// Notes what was seen.
    pub(super) fn learn(&self, port: u16, after: Option<Duration>, at: Instant) {
        self.0.lock().insert(port, Learnt { after, at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn what_was_learnt_of_a_port_is_believed_for_a_while() {
        let (known, now) = (AppKeepalive::default(), Instant::now());
        assert_eq!(known.known(80, now), None);
        known.learn(80, None, now);
        known.learn(81, Some(ms(9)), now);
        assert_eq!(
            [80, 81, 82].map(|port| known.known(port, now)),
            [Some(None), Some(Some(ms(9))), None]
        );
        assert_eq!(known.known(81, now + BELIEVED_FOR), None);
    }
}
