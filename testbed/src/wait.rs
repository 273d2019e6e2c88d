//! Waiting for a condition, never for a length of time.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Tries `probe` again and again until it succeeds; the error names what was awaited and what was seen last.
///
/// A probe may return an `Option`, a `bool`, or a `Result` whose error is then "what was seen last".
pub fn wait_until<P: Probe>(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> P,
) -> Result<P::Ready> {
    let started = Instant::now();
    // Most conditions come true within a millisecond or two; those that do not can afford a coarser step.
    let mut pause = Duration::from_micros(200);
    loop {
        let seen = match probe().outcome() {
            Ok(ready) => return Ok(ready),
            Err(seen) => seen,
        };
        if started.elapsed() >= timeout {
            let seen = seen.map(|seen| format!("; last seen: {seen}")).unwrap_or_default();
            bail!("waited {timeout:?} for {what}, in vain{seen}");
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// What a probe of [`wait_until`] may return.
pub trait Probe {
    /// What the wait gives in the end.
    type Ready;
    /// Ready, or what was seen instead.
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
    fn gives_the_value_as_soon_as_there_is_one() {
        let mut left = 3;
        let value = wait_until("the countdown", Duration::from_secs(1), || {
            left -= 1;
            (left == 0).then_some("done")
        });
        assert_eq!(value.expect("ready"), "done");
    }

    #[test]
    fn names_what_was_awaited_and_what_was_seen() {
        let error = wait_until("a cat", Duration::from_millis(1), || Err::<(), _>("a dog"))
            .expect_err("no cat");
        assert_eq!(error.to_string(), "waited 1ms for a cat, in vain; last seen: a dog");
    }
}
