//! Waiting for a condition, never for a fixed time.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Repeats `probe` until it succeeds, and returns its value.
///
/// A probe returns an `Option`, a `bool`, or a `Result`.
///
/// # Errors
/// After `timeout`. The error names `what` and the last error of the probe.
pub fn wait_until<P: Probe>(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> P,
) -> Result<P::Ready> {
    let started = Instant::now();
    // Most conditions come true within one or two milliseconds; others can be checked less often.
    let mut pause = Duration::from_micros(200);
    loop {
        let seen = match probe().outcome() {
            Ok(ready) => return Ok(ready),
            Err(seen) => seen,
        };
        if started.elapsed() >= timeout {
            let seen = seen.map(|seen| format!("; last seen: {seen}")).unwrap_or_default();
            bail!("timed out after {timeout:?} waiting for {what}{seen}");
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// The result of a probe of [`wait_until`].
pub trait Probe {
    /// The value that [`wait_until`] returns.
    type Ready;
    /// The value, or a description of the current state if there is one.
    fn outcome(self) -> Result<Self::Ready, Option<String>>;
}

impl<T> Probe for Option<T> {
    type Ready = T;
    fn outcome(self) -> Result<T, Option<String>> {
        self.ok_or(None)
    }
}

impl<T, E: Display> Probe for Result<T, E> {
    type Ready = T;
    fn outcome(self) -> Result<T, Option<String>> {
        self.map_err(|seen| Some(format!("{seen:#}")))
    }
}

impl Probe for bool {
    type Ready = ();
    fn outcome(self) -> Result<(), Option<String>> {
        if self { Ok(()) } else { Err(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_the_probe_is_returned() {
        let mut left = 3;
        let value = wait_until("the countdown", Duration::from_secs(1), || {
            left -= 1;
            (left == 0).then_some("done")
        });
        assert_eq!(value.expect("ready"), "done");
    }

    #[test]
    fn the_error_names_the_condition_and_the_last_state() {
        let error = wait_until("a cat", Duration::from_millis(1), || Err::<(), _>("a dog"))
            .expect_err("no cat");
        assert_eq!(error.to_string(), "timed out after 1ms waiting for a cat; last seen: a dog");
    }
}
