//! Credits: how many connections the kernel may still send to one worker.
//!
//! The balance follows each connection from the grant to the kernel's delivery and to the accept.

/// Minimum number of accepted connections before another grant. A grant is one store per attached
/// namespace, which a single connection is not worth while few credits are left.
const MIN_ACCEPTED: i64 = 16;

/// The free connections at a moment, as one worker sees them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Available {
    /// Those that other workers have not reserved.
    pub(super) most: i64,
    /// An equal share of all.
    pub(super) share: i64,
}

/// The balance of one worker.
#[derive(Debug, Default)]
pub(super) struct Credits {
    /// Granted to the kernel, and not used as far as is known.
    pub(super) left: i64,
    /// Connections that the kernel has sent and the worker has not accepted: in the accept queue,
    /// or in a handshake that may never complete. Negative while connections were accepted before
    /// the worker read that the kernel had sent them.
    in_flight: i64,
    /// The last grant.
    granted: i64,
    /// Connections accepted since the last grant.
    accepted: i64,
}

// === impl Credits ===

impl Credits {
    /// Notes that the kernel has sent `count` more connections.
    pub(super) fn sent(&mut self, count: i64) {
        self.left = self.left.saturating_sub(count);
        self.in_flight = self.in_flight.saturating_add(count);
    }

    /// Notes that a connection was accepted. True when another grant is due: at least half of the
    /// last one is used, and more than [`MIN_ACCEPTED`].
    pub(super) fn accepted(&mut self) -> bool {
        self.in_flight -= 1;
        self.accepted += 1;
        self.accepted > (self.granted / 2).max(MIN_ACCEPTED)
    }

    /// The number of connections that may be sent from now on. Unused credits stay unless they are
    /// no longer free. They may exceed the share, so that free connections are not left unused when
    /// most clients reach one worker.
    pub(super) fn next_grant(&mut self, available: Available) -> i64 {
        self.accepted = 0;
        self.in_flight = self.in_flight.max(0);
        let wanted = self.left.max(available.share.saturating_sub(self.in_flight));
        self.left = wanted.min(available.most.saturating_sub(self.in_flight)).max(0);
        self.granted = self.left;
        self.granted
    }

    /// Connections that are not open yet and count as taken.
    pub(super) fn reserved(&self) -> i64 {
        self.left.saturating_add(self.in_flight)
    }

    /// Forgets half of the connections in flight: abandoned handshakes must not hold credits for
    /// ever.
    pub(super) fn decay(&mut self) {
        // Never decay a negative balance: these connections were accepted before we read that the
        // kernel had sent them; the next reading accounts for them.
        if self.in_flight > 0 {
            self.in_flight /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(free: i64) -> Available {
        Available { most: free, share: free }
    }

    #[test]
    fn connections_in_flight_are_not_granted_again() {
        let mut credits = Credits::default();
        assert_eq!(credits.next_grant(alone(10)), 10);
        credits.sent(8);
        assert!(!credits.accepted());
        // One of the eight was accepted and is open now.
        assert_eq!(credits.next_grant(alone(9)), 2);
        credits.sent(2);
        assert_eq!(credits.next_grant(alone(9)), 0);
    }

    #[test]
    fn an_abandoned_handshake_gives_its_credit_back() {
        let mut credits = Credits::default();
        credits.sent(8);
        assert_eq!(credits.next_grant(alone(10)), 2);
        for _ in 0..4 {
            credits.decay();
        }
        assert_eq!(credits.next_grant(alone(10)), 10);
    }

    #[test]
    fn a_beat_between_a_burst_and_the_reading_loses_no_credit() {
        let mut credits = Credits::default();
        assert_eq!(credits.next_grant(alone(100)), 100);
        for _ in 0..10 {
            credits.accepted();
        }
        credits.decay();
        credits.sent(10);
        assert_eq!(credits.next_grant(alone(90)), 90);
        assert_eq!(credits.reserved(), 90);
    }
}
