//! The heartbeat: how the kernel knows that a worker still accepts.
//!
//! The kernel closes the sockets and links of a dead daemon, which needs no heartbeat. A hung
//! daemon (stopped, blocked, starved) keeps both. Each worker's accept loop therefore stores the
//! time in its cell of a shared array. The program steers to no worker whose cell is stale: the app
//! serves. The cell also has the worker's credit: the number of connections that it can still take.

/// How often an accept loop stores the time, in milliseconds.
pub const PERIOD_MS: u64 = 100;

/// A cell older than this is stale, in milliseconds.
///
/// Six missed beats. That is below the promised second, with time for the last SYN, and above the
/// delays of a healthy thread under a busy scheduler.
pub const STALE_AFTER_MS: u64 = 600;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The time of a worker's last beat: `CLOCK_MONOTONIC` in nanoseconds, the clock that
/// `bpf_ktime_get_ns` reads.
pub type Beat = u64;

/// The cell of a worker that does not accept: it has not begun, or stopped on purpose.
pub const NO_BEAT: Beat = 0;

/// The cell of a worker that is alive and has no credit for another connection.
pub const AT_LIMIT: Beat = 1;

/// One cell of the heartbeat array, which a worker stores and the program reads.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// The time of the worker's last beat.
    pub beat: Beat,
    /// The number of connections that the worker can still take. The program subtracts one for each
    /// connection that it steers. Falls below zero when CPUs race.
    ///
    /// Between the handshake and the worker, connections wait in the accept queue and have no file
    /// descriptor. Without this limit a burst would queue more of them than the process can open.
    pub credit: i64,
}

const _: () = assert!(size_of::<Pulse>() == 16);

/// Whether a worker that last beat at `beat` counts as accepting at time `now`.
#[inline(always)]
#[must_use]
pub const fn is_fresh(now: u64, beat: Beat) -> bool {
    // Another CPU may have stored a beat since `now` was read, so a beat may be newer than `now`.
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
