//! What a server was told of the client's initial window of streams.

use std::collections::VecDeque;

/// The initial windows of streams that the server may go by, in bytes: the last one that it has
/// acknowledged, and those that it has not.
#[derive(Debug)]
pub(super) struct Granted {
    acknowledged: u32,
    announced: VecDeque<u32>,
}

// === impl Granted ===

impl Granted {
    /// `initial` is in force before any SETTINGS.
    pub(super) fn new(initial: u32) -> Self {
        Self { acknowledged: initial, announced: VecDeque::new() }
    }

    /// The largest one that the server may go by.
    pub(super) fn largest(&self) -> u32 {
        self.announced.iter().copied().fold(self.acknowledged, u32::max)
    }

    /// SETTINGS with this value were sent.
    pub(super) fn announce(&mut self, initial: u32) {
        self.announced.push_back(initial);
    }

    /// The server has acknowledged SETTINGS. False if there were none.
    pub(super) fn acknowledge(&mut self) -> bool {
        let oldest = self.announced.pop_front();
        self.acknowledged = oldest.unwrap_or(self.acknowledged);
        oldest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_window_counts_when_it_is_acknowledged_and_a_higher_one_at_once() {
        let mut granted = Granted::new(65_535);
        granted.announce(10);
        granted.announce(20);
        assert_eq!(granted.largest(), 65_535);
        assert!(granted.acknowledge());
        assert_eq!(granted.largest(), 20);
        granted.announce(100_000);
        assert_eq!(granted.largest(), 100_000);
        assert!(granted.acknowledge());
        assert!(granted.acknowledge());
        assert_eq!(granted.largest(), 100_000);
        assert!(!granted.acknowledge());
    }
}
