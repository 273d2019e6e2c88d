//! An observer that keeps what it sees.

use parking_lot::Mutex;

use super::{Observer, ResponseClock};
use crate::relay::direction::Direction;

/// Records bytes, heads and ends of a connection.
#[derive(Debug, Default)]
pub struct Recorder {
    up: Mutex<Recorded>,
    down: Mutex<Recorded>,
}

/// What passed in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// All bytes, in order.
    pub bytes: Vec<u8>,
    /// The number of heads.
    pub heads: usize,
    /// Whether the direction ended with FIN.
    pub ended: bool,
}

// === impl Recorder ===

impl Recorder {
    /// What passed in this direction so far.
    pub fn recorded(&self, direction: Direction) -> Recorded {
        self.of(direction).lock().clone()
    }

    fn of(&self, direction: Direction) -> &Mutex<Recorded> {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

impl Observer for Recorder {
    fn bytes(&self, direction: Direction, bytes: &[u8]) {
        let mut recorded = self.of(direction).lock();
        assert!(!recorded.ended, "bytes after the end");
        recorded.bytes.extend_from_slice(bytes);
    }

    fn head(&self, direction: Direction, _: &mut ResponseClock) {
        self.of(direction).lock().heads += 1;
    }

    fn end(&self, direction: Direction) {
        let mut recorded = self.of(direction).lock();
        assert!(!recorded.ended, "a second end");
        recorded.ended = true;
    }
}
