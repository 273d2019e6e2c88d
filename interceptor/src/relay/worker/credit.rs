//! How many connections the kernel may send to one worker: the record of what was granted, sent and
//! accepted.

/// A grant is a store for each armed namespace: not worth it for each connection when there is
/// little room.
const WORTH_A_GRANT: i64 = 16;

/// What is free at a moment, as one worker sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Available {
    /// Beside what the other workers have promised.
    pub(super) most: i64,
    /// If all workers had the same.
    pub(super) share: i64,
}

/// The record of what the kernel may send and what has come.
#[derive(Debug, Default)]
pub(super) struct Credits {
    /// Granted, and not sent as far as is known.
    pub(super) left: i64,
    /// Sent by the kernel and not accepted yet: in the accept queue, or in a handshake that may
    /// never end. Below zero while something has come that was not known to be sent.
    in_flight: i64,
    /// Last granted.
    granted: i64,
    /// Accepted since the last grant.
    accepted: i64,
}

// === impl Credits ===

impl Credits {
    /// The kernel has sent this many more.
    pub(super) fn steered(&mut self, count: i64) {
        self.left = self.left.saturating_sub(count);
        self.in_flight = self.in_flight.saturating_add(count);
    }

    /// One has arrived. True when it is time for another grant: half of the last one has been used,
    /// and a few more.
    pub(super) fn accepted(&mut self) -> bool {
        self.in_flight -= 1;
        self.accepted += 1;
        self.accepted > (self.granted / 2).max(WORTH_A_GRANT)
    }

    /// How many more may be sent now. What is left is kept, unless there is no room for it: another
    /// worker's callers may come here too, so nothing that is free lies idle.
    pub(super) fn next_grant(&mut self, free: Available) -> i64 {
        self.accepted = 0;
        self.in_flight = self.in_flight.max(0);
        let wanted = self.left.max(free.share.saturating_sub(self.in_flight));
        self.left = wanted.min(free.most.saturating_sub(self.in_flight)).max(0);
        self.granted = self.left;
        self.granted
    }

    /// Credits that is taken without being open yet.
    pub(super) fn promised(&self) -> i64 {
        self.left.saturating_add(self.in_flight)
    }

    /// Forgets half of those that never come: handshakes that were given up must not use up the
    /// room.
    pub(super) fn age(&mut self) {
        // What has come and was not known to be sent must not be forgotten: it is sent for in the
        // next record.
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
    fn what_is_in_flight_has_its_room_already() {
        let mut room = Credits::default();
        assert_eq!(room.next_grant(alone(10)), 10);
        room.steered(8);
        assert!(!room.accepted());
        // One of eight has arrived, and is one of those that are open now.
        assert_eq!(room.next_grant(alone(9)), 2);
        room.steered(2);
        assert_eq!(room.next_grant(alone(9)), 0);
    }

    #[test]
    fn a_handshake_that_never_ends_gives_its_room_back() {
        let mut room = Credits::default();
        room.steered(8);
        assert_eq!(room.next_grant(alone(10)), 2);
        for _ in 0..4 {
            room.age();
        }
        assert_eq!(room.next_grant(alone(10)), 10);
    }

    #[test]
    fn a_beat_between_a_burst_and_the_books_loses_no_room() {
        let mut room = Credits::default();
        assert_eq!(room.next_grant(alone(100)), 100);
        for _ in 0..10 {
            room.accepted();
        }
        room.age();
        room.steered(10);
        assert_eq!(room.next_grant(alone(90)), 90);
        assert_eq!(room.promised(), 90);
    }
}
