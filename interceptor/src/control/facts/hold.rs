//! What is reported of a target or a name that changes its mind. No I/O, and no clock of its own.
//!
//! A failure is reported at once. A recovery, or another kind of failure, is reported only after it
//! has lasted for a while: a target that answers and refuses in turn stays reported as refusing. A
//! target that has failed again soon after a recovery has to answer for longer each time.

use std::time::Duration;

use tokio::time::Instant;

use crate::relay::answer::Answer;

/// How long something else than the reported failure must show.
const PATIENCE: Duration = Duration::from_secs(2);
/// Maximum of that time, which doubles with each failure soon after a recovery.
const MAX_PATIENCE: Duration = Duration::from_secs(60);
/// A failure so soon after a recovery doubles the time.
const SOON: Duration = Duration::from_secs(60);

/// What may show. Everything but these two is a failure.
pub trait Finding: Clone + PartialEq {
    /// Nothing is known. It is never reported.
    const UNKNOWN: Self;
    /// All is well.
    const GOOD: Self;
}

/// What is reported of one thing that may fail.
#[derive(Debug)]
pub struct Hold<F> {
    reported: F,
    /// What has shown since then, if that is not what is reported.
    candidate: Option<(F, Instant)>,
    patience: Duration,
    recovered_at: Option<Instant>,
}

impl Finding for Answer {
    // The addresses are new. What was reported stays until they were dialled.
    const UNKNOWN: Self = Self::Unknown;
    const GOOD: Self = Self::Accepts;
}

// === impl Hold ===

impl<F: Finding> Default for Hold<F> {
    fn default() -> Self {
        Self { reported: F::UNKNOWN, candidate: None, patience: PATIENCE, recovered_at: None }
    }
}

impl<F: Finding> Hold<F> {
    /// What is reported.
    #[must_use]
    pub fn reported(&self) -> &F {
        &self.reported
    }

    /// When something else will have shown for long enough.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.candidate.as_ref().map(|(_, since)| *since + self.patience)
    }

    /// Notes what shows at this moment. Returns it if it is to be reported now.
    pub fn see(&mut self, finding: F, now: Instant) -> Option<F> {
        if finding == F::UNKNOWN {
            return None;
        }
        if finding == self.reported {
            self.candidate = None;
            return None;
        }
        if self.reported == F::GOOD {
            let is_soon = self.recovered_at.is_some_and(|at| now < at + SOON);
            self.patience = if is_soon { (self.patience * 2).min(MAX_PATIENCE) } else { PATIENCE };
        } else if self.reported != F::UNKNOWN {
            match &self.candidate {
                Some((candidate, since)) if *candidate == finding => {
                    if now < *since + self.patience {
                        return None;
                    }
                    self.recovered_at = (finding == F::GOOD).then_some(now);
                }
                _ => {
                    self.candidate = Some((finding, now));
                    return None;
                }
            }
        }
        (self.reported, self.candidate) = (finding.clone(), None);
        Some(finding)
    }

    /// What has shown for long enough by now, if that is to be reported.
    pub fn release(&mut self, now: Instant) -> Option<F> {
        let (finding, _) = self.candidate.clone()?;
        self.see(finding, now)
    }

    /// Notes that several findings have shown since the last one was seen: its time begins again.
    pub fn waver(&mut self, now: Instant) {
        if let Some((_, since)) = &mut self.candidate {
            *since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(100);

    /// What is reported while the target shows `shows` at each step, with the steps.
    fn reports(
        hold: &mut Hold<Answer>,
        steps: u32,
        shows: impl Fn(u32) -> Answer,
    ) -> Vec<(u32, Answer)> {
        let start = Instant::now();
        (0..steps)
            .filter_map(|step| Some((step, hold.see(shows(step), start + STEP * step)?)))
            .collect()
    }

    #[test]
    fn the_first_answer_and_the_first_failure_are_reported_at_once() {
        let shows = |step| if step < 3 { Answer::Accepts } else { Answer::Refuses };
        let reported = reports(&mut Hold::default(), 10, shows);
        assert_eq!(reported, [(0, Answer::Accepts), (3, Answer::Refuses)]);
        let reported = reports(&mut Hold::default(), 10, |_| Answer::Silent);
        assert_eq!(reported, [(0, Answer::Silent)]);
    }

    #[test]
    fn a_recovery_and_another_failure_are_reported_after_a_while() {
        for next in [Answer::Accepts, Answer::Silent] {
            let shows = |step| if step < 3 { Answer::Refuses } else { next };
            let reported = reports(&mut Hold::default(), 40, shows);
            assert_eq!(reported, [(0, Answer::Refuses), (23, next)]);
        }
    }

    #[test]
    fn unknown_answers_change_nothing() {
        let shows = |step| if step % 2 == 0 { Answer::Refuses } else { Answer::Unknown };
        assert_eq!(reports(&mut Hold::default(), 100, shows), [(0, Answer::Refuses)]);
    }

    #[test]
    fn a_target_that_changes_at_every_look_is_reported_as_failed_once() {
        let shows = |step| [Answer::Accepts, Answer::Refuses, Answer::Silent][step as usize % 3];
        let reported = reports(&mut Hold::default(), 3000, shows);
        assert_eq!(reported, [(0, Answer::Accepts), (1, Answer::Refuses)]);
    }

    #[test]
    fn a_target_that_fails_again_and_again_is_reported_less_and_less() {
        // It answers for 3 s and refuses for 1 s, over ten minutes.
        let shows = |step| if step % 40 < 30 { Answer::Accepts } else { Answer::Refuses };
        let reported = reports(&mut Hold::default(), 6000, shows);
        assert!(reported.len() <= 5, "{reported:?}");
        assert_eq!(reported.last().map(|(_, answer)| *answer), Some(Answer::Refuses));
    }

    #[test]
    fn a_target_that_was_well_for_a_minute_has_a_clean_record() {
        let mut hold = Hold::default();
        // Three failures of a second, each two minutes after the last.
        let shows = |step| if step % 1200 < 10 { Answer::Refuses } else { Answer::Accepts };
        let reported = reports(&mut hold, 3600, shows);
        let expected: Vec<_> = [0, 1200, 2400]
            .into_iter()
            .flat_map(|step| [(step, Answer::Refuses), (step + 30, Answer::Accepts)])
            .collect();
        assert_eq!(reported, expected);
    }

    #[test]
    fn a_target_that_wavered_between_two_looks_begins_again() {
        let (mut hold, now) = (Hold::default(), Instant::now());
        hold.see(Answer::Refuses, now);
        hold.see(Answer::Accepts, now);
        let later = now + PATIENCE - STEP;
        hold.waver(later);
        assert_eq!(hold.see(Answer::Accepts, now + PATIENCE), None);
        assert_eq!(hold.due(), Some(later + PATIENCE));
        assert_eq!(hold.see(Answer::Accepts, later + PATIENCE), Some(Answer::Accepts));
    }
}
