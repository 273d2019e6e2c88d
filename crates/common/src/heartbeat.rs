//! The heartbeat: how the kernel knows that a worker still accepts.
//!
//! A dead daemon takes its sockets and links with it, so the kernel needs no word of that. A daemon that *hangs*
//! (stopped, blocked, starved) keeps both. Each worker's accept loop therefore stores the time in its cell of a
//! shared array, and the program steers to no worker whose cell is stale: the application serves. Beside it stands how
//! many connections the worker can still take.

/// How often an accept loop stores the time, in milliseconds.
pub const PERIOD_MS: u64 = 100;

/// A cell older than this is stale, in milliseconds.
///
/// Six missed beats: below the promised second with room for the last SYN, above what a busy scheduler does to a
/// healthy thread.
pub const STALE_AFTER_MS: u64 = 600;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The time of a worker's last beat, `CLOCK_MONOTONIC` in nanoseconds (`bpf_ktime_get_ns` reads the same clock).
pub type Beat = u64;

/// The cell of a worker that does not accept, from the start or because it stopped on purpose.
pub const NO_BEAT: Beat = 0;

/// The cell of a worker that is alive and has no room for another connection.
pub const AT_LIMIT: Beat = 1;

/// What a worker stores for the program: one cell of the heartbeat array.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// When it last went round its loop.
    pub beat: Beat,
    /// How many connections it can still take; the program takes one off for each that it steers.
    ///
    /// Connections wait in the accept queue between the hand-shake and the worker, where nobody counts them. Without
    /// this a burst would put more of them there than there are file descriptors. Falls below zero when CPUs race.
    pub room: i64,
}

const _: () = assert!(size_of::<Pulse>() == 16);

/// Whether a worker that last beat at `beat` counts as accepting at time `now`.
#[inline(always)]
#[must_use]
pub const fn is_fresh(now: u64, beat: Beat) -> bool {
    // A beat "from the future" is one stored on another CPU since `now` was read.
    beat > AT_LIMIT && now.saturating_sub(beat) < STALE_AFTER_MS * NANOS_PER_MILLI
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000 * NANOS_PER_MILLI;

    #[test]
    fn fresh_until_the_limit_and_not_after() {
        let beat = 5 * SECOND;
        assert!(is_fresh(beat, beat));
        assert!(is_fresh(beat + STALE_AFTER_MS * NANOS_PER_MILLI - 1, beat));
        assert!(!is_fresh(beat + STALE_AFTER_MS * NANOS_PER_MILLI, beat));
    }

    #[test]
    fn a_worker_that_never_beat_is_stale_even_just_after_boot() {
        assert!(!is_fresh(0, NO_BEAT));
        assert!(!is_fresh(1, NO_BEAT));
        assert!(!is_fresh(1, AT_LIMIT));
    }

    #[test]
    fn a_beat_from_another_cpu_may_be_newer_than_now() {
        assert!(is_fresh(5 * SECOND, 5 * SECOND + 10));
    }
}
