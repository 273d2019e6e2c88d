//! A shortage of file descriptors or memory: what is left is for connections that are accepted.
//!
//! The limit of open connections keeps the process away from a shortage. It happens all the same
//! when the limit is lowered at run time, or when the whole system runs out. Then the kernel leaves
//! new connections with the app for a moment. Accepted ones are passed on with file descriptors
//! that were reserved for this.

use std::{
    fs::File,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;

use crate::datapath::steal::heartbeat;

/// How long new connections stay with the app after a shortage.
const PAUSE: Duration = Duration::from_millis(200);
/// The minimum interval between two log lines about shortages.
const QUIET: Duration = Duration::from_secs(10);
/// File descriptors in reserve, for connections that are on their way when a shortage begins.
const SPARES: usize = 16;

/// The shortage of the whole process, shared by all workers.
#[derive(Debug)]
pub struct Pressure {
    /// The end of the last [`PAUSE`], in nanoseconds of `CLOCK_MONOTONIC`.
    until: AtomicU64,
    /// No log line before this time, in nanoseconds of `CLOCK_MONOTONIC`.
    quiet_until: AtomicU64,
    spares: Mutex<Vec<File>>,
}

// === impl Pressure ===

impl Default for Pressure {
    fn default() -> Self {
        let pressure = Self {
            until: AtomicU64::new(0),
            quiet_until: AtomicU64::new(0),
            spares: Mutex::default(),
        };
        pressure.refill();
        pressure
    }
}

impl Pressure {
    /// Notes that a system call failed for want of file descriptors or memory.
    pub fn report(&self) {
        let now = heartbeat::now();
        self.until.store(now + nanos(PAUSE), Ordering::Relaxed);
        let quiet_until = self.quiet_until.load(Ordering::Relaxed);
        let ours = (quiet_until, now + nanos(QUIET));
        if quiet_until <= now
            && self
                .quiet_until
                .compare_exchange(ours.0, ours.1, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            tracing::warn!("out of file descriptors or memory; new connections go to the app");
        }
    }

    /// Whether a shortage was reported within the last [`PAUSE`].
    #[must_use]
    pub fn is_on(&self) -> bool {
        heartbeat::now() < self.until.load(Ordering::Relaxed)
    }

    /// Frees a file descriptor of the reserve for an accepted connection. False if none is left.
    #[must_use]
    pub fn lend(&self) -> bool {
        self.spares.lock().pop().is_some()
    }

    /// Fills the reserve again, as far as the system allows.
    pub fn refill(&self) {
        let mut spares = self.spares.lock();
        while spares.len() < SPARES {
            match File::open("/dev/null") {
                Ok(file) => spares.push(file),
                Err(_) => return,
            }
        }
    }
}

const fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_lent_and_refilled() {
        let pressure = Pressure::default();
        assert_eq!((0..SPARES + 5).filter(|_| pressure.lend()).count(), SPARES);
        pressure.refill();
        assert!(pressure.lend());
    }

    #[test]
    fn pressure_is_on_after_a_report() {
        let pressure = Pressure::default();
        assert!(!pressure.is_on());
        pressure.report();
        assert!(pressure.is_on());
    }
}
