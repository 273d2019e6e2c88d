//! How often something may happen: a handful at once, then one at a time.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket.
#[derive(Debug)]
pub(super) struct Budget {
    burst: u32,
    refill: Duration,
    /// When the bucket will be, or was, full.
    full_at: Instant,
}

// === impl Budget ===

impl Budget {
    /// `burst` at once, and one more every `refill`.
    pub(super) fn new(burst: u32, refill: Duration) -> Self {
        Self { burst, refill, full_at: Instant::now() }
    }

    /// Takes one if there is one; else tells when there will be.
    pub(super) fn take(&mut self) -> Result<(), Instant> {
        let now = Instant::now();
        let full_at = self.full_at.max(now) + self.refill;
        let last = now + self.refill * self.burst;
        if full_at > last {
            return Err(now + (full_at - last));
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_one_at_a_time() {
        let mut budget = Budget::new(3, Duration::from_secs(10));
        for _ in 0..3 {
            assert!(budget.take().is_ok());
        }
        let next = budget.take().expect_err("used up");
        assert_eq!(next, Instant::now() + Duration::from_secs(10));
        tokio::time::sleep_until(next).await;
        assert!(budget.take().is_ok());
        assert!(budget.take().is_err());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((0..10).filter(|_| budget.take().is_ok()).count(), 3, "no more than the burst is saved up");
    }
}
