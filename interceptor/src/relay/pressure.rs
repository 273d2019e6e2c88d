//! Out of file descriptors or memory: what is left is for those already accepted.
//!
//! The limit of open connections keeps the process away from this. It happens all the same when the
//! limit is lowered under us, or the system as a whole runs out. Then the kernel leaves new
//! connections with the application for a moment, and connections in hand are passed on with file
//! descriptors that were put aside for that.

use std::{
    fs::File,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;

use crate::datapath::steal::heartbeat;

/// New connections stay with the application for this long after a shortage was met.
const PAUSE: Duration = Duration::from_millis(200);
/// One line in the log for each of these.
const QUIET: Duration = Duration::from_secs(10);
/// File descriptors put aside: connections that were on their way when the shortage was met.
const SPARES: usize = 16;

/// The state of the whole process.
#[derive(Debug)]
pub struct Pressure {
    /// `CLOCK_MONOTONIC` nanoseconds.
    until: AtomicU64,
    /// The log has been told; not again before this time.
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
    /// A system call said that something has run out.
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
            tracing::warn!(
                "out of file descriptors or memory; new connections go to the application"
            );
        }
    }

    /// Whether it was met a moment ago.
    #[must_use]
    pub fn is_on(&self) -> bool {
        heartbeat::now() < self.until.load(Ordering::Relaxed)
    }

    /// Frees a file descriptor for a connection that is in hand. False when none is left.
    #[must_use]
    pub fn lend(&self) -> bool {
        self.lock().pop().is_some()
    }

    /// Puts aside what was lent, as far as there is any.
    pub fn refill(&self) {
        let mut spares = self.lock();
        while spares.len() < SPARES {
            match File::open("/dev/null") {
                Ok(file) => spares.push(file),
                Err(_) => return,
            }
        }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Vec<File>> {
        self.spares.lock()
    }
}

const fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lends_what_it_has_and_takes_it_back() {
        let pressure = Pressure::default();
        assert_eq!((0..SPARES + 5).filter(|_| pressure.lend()).count(), SPARES);
        pressure.refill();
        assert!(pressure.lend());
    }

    #[test]
    fn is_on_for_a_moment_after_a_report() {
        let pressure = Pressure::default();
        assert!(!pressure.is_on());
        pressure.report();
        assert!(pressure.is_on());
    }
}
