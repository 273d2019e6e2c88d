//! What a target showed last, when it was dialled.
//!
//! Every worker notes it, and the control side reports it. A connection whose target shows what it
//! showed before costs one load.

use std::sync::atomic::{AtomicU8, Ordering};

/// What a target showed when it was dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Answer {
    /// It was not dialled yet, or its addresses have changed since.
    Unknown,
    /// It accepted a connection.
    Accepts,
    /// It refused a connection: nothing listens there.
    Refuses,
    /// It gave no answer within the connect time-out.
    Silent,
    /// There is no way to it: no route, or a router reported it unreachable.
    Unreachable,
    /// The kernel on this side refused to connect, for example because of a packet filter.
    Forbidden,
    /// It was not dialled: it is a redirected port of the same pod.
    Loops,
}

/// The last answer of a target, shared by all workers.
#[derive(Debug, Default)]
pub struct LastAnswer(AtomicU8);

// === impl Answer ===

impl Answer {
    /// Every answer, at the index of its number.
    const ALL: [Self; 7] = [
        Self::Unknown,
        Self::Accepts,
        Self::Refuses,
        Self::Silent,
        Self::Unreachable,
        Self::Forbidden,
        Self::Loops,
    ];
}

// === impl LastAnswer ===

impl LastAnswer {
    /// The last answer.
    #[must_use]
    pub fn get(&self) -> Answer {
        let number = usize::from(self.0.load(Ordering::Relaxed));
        Answer::ALL.get(number).copied().unwrap_or(Answer::Unknown)
    }

    /// Notes an answer. True if it differs from the last one.
    pub fn set(&self, answer: Answer) -> bool {
        let number = answer as u8;
        // The usual case must not write to a cache line that all workers read.
        self.0.load(Ordering::Relaxed) != number && self.0.swap(number, Ordering::Relaxed) != number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_is_kept_and_only_a_different_one_is_news() {
        let last = LastAnswer::default();
        assert_eq!(last.get(), Answer::Unknown);
        for answer in Answer::ALL.into_iter().rev() {
            assert!(last.set(answer), "{answer:?}");
            assert!(!last.set(answer), "{answer:?}");
            assert_eq!(last.get(), answer);
        }
    }
}
