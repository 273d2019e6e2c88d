//! The result of a run: which cells differ, and which of them are known to.

use std::{fmt, time::Duration};

use crate::{cell::Cell, known::Known, matrix::Verdict};

/// The result of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// What makes the run fail, each with its cell.
    pub failures: Vec<String>,
    /// Known differences that were seen again.
    pub known: usize,
    /// Cells without a difference.
    pub same: usize,
    /// Those of them of which one call differed, each with the difference.
    pub repeated: Vec<String>,
    /// Runtimes that are missing, each with the reason.
    pub missing: Vec<String>,
    /// Cells that were left out, as a runtime is missing.
    pub left_out: usize,
    /// The cells that took longest.
    pub slowest: Vec<(String, Duration)>,
    /// The time of all cells.
    pub time: Duration,
}

/// Whether a verdict makes a run fail.
pub fn fails(cell: &Cell<'_>, verdict: &Verdict, known: &[Known]) -> bool {
    let known = known.iter().find(|known| known.fits(cell));
    match (verdict, known) {
        (Verdict::Failed(_), _) => true,
        (Verdict::Same | Verdict::Repeated(_), known) => {
            known.is_some_and(|known| !known.sometimes)
        }
        (Verdict::Unsteady(_) | Verdict::Differs(_), known) => known.is_none(),
    }
}

// === impl Report ===

impl Report {
    /// Adds the verdict of a cell.
    pub fn add(&mut self, cell: &Cell<'_>, verdict: &Verdict, known: &[Known]) {
        let known = known.iter().find(|known| known.fits(cell));
        let name = cell.name();
        match (verdict, known) {
            (Verdict::Same, None) => self.same += 1,
            (Verdict::Repeated(difference), None) => {
                self.same += 1;
                self.repeated.push(format!("{name}: differed once\n{difference}"));
            }
            (Verdict::Same | Verdict::Repeated(_), Some(Known { sometimes: true, .. }))
            | (Verdict::Unsteady(_) | Verdict::Differs(_), Some(_)) => self.known += 1,
            (Verdict::Same | Verdict::Repeated(_), Some(Known { reason, .. })) => {
                self.failures.push(format!(
                    "{name}: no difference any more; remove it from `known.toml` ({reason})"
                ));
            }
            (Verdict::Unsteady(difference), None) => {
                self.failures.push(format!("{name}: differs, but not each time\n{difference}"));
            }
            (Verdict::Differs(difference), None) => {
                self.failures.push(format!("{name}: differs\n{difference}"));
            }
            (Verdict::Failed(error), _) => self.failures.push(format!("{name}: {error}")),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for text in self.repeated.iter().chain(&self.failures) {
            writeln!(f, "{}", text.trim_end())?;
        }
        for missing in &self.missing {
            writeln!(f, "MISSING: {missing}")?;
        }
        let Self { same, known, left_out, time, repeated, .. } = self;
        write!(
            f,
            "{} failures; {same} cells are as directly ({} of them differed once), {known} differ \
             for a known reason, {left_out} were left out; {time:.0?}",
            self.failures.len(),
            repeated.len(),
        )
    }
}
