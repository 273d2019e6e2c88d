//! The two directions of a relayed connection.

/// A direction in which bytes pass through the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the app or the target.
    Up,
    /// From the app or the target to the client.
    Down,
}

// === impl Direction ===

impl Direction {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::Up, Self::Down];

    /// The value of the metric label `direction`, for bytes between clients and a target.
    #[must_use]
    pub const fn label(self) -> interceptor_api::Direction {
        match self {
            Self::Up => interceptor_api::Direction::ToTarget,
            Self::Down => interceptor_api::Direction::FromTarget,
        }
    }
}
