//! Any text is a workloads file (or policy), or an error whose place is in the text.
//!
//! The daemon's sources are included here, because a dependency on `interceptor` would build the
//! kernel programs.

#[expect(dead_code, unreachable_pub, unused_imports, reason = "the daemon uses the rest")]
#[path = "../../../interceptor/src/config"]
mod config {
    pub mod annotation;
    pub mod policy;
    pub mod workloads;
    pub mod yaml;
}

use config::policy::Policy;
use config::workloads::{self, FileError, Location, Origin};

/// Runs the target.
pub fn run(text: &str) {
    match workloads::parse(text, "w.yaml") {
        Ok(file) => {
            for annotation in file.workloads.iter().flat_map(|workload| &workload.rules) {
                let Err(error) = &annotation.rules else { continue };
                assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
                let Origin::File { location, exact, .. } = error.origin else {
                    panic!("{error:?}")
                };
                check_place(text, location.line);
                if let (true, Some(span)) = (exact, error.problem.span()) {
                    check_character(text, location, &annotation.value[span.start..]);
                }
            }
        }
        Err(error) => check(text, &error),
    }
    if let Err(error) = Policy::parse(text, "p.yaml") {
        check(text, &error);
    }
}

fn check(text: &str, error: &FileError) {
    assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
    check_place(text, error.location.line);
}

fn check_place(text: &str, line: usize) {
    // In YAML `\r` ends a line, too, and the end of the text is a valid place.
    let lines = text.matches(['\n', '\r']).count() + 1;
    assert!((1..=lines).contains(&line), "line {line} of {lines}");
}

/// Checks that an exact place is that of the character at which the error begins. `wrong` is the
/// rule from there on.
fn check_character(text: &str, location: Location, wrong: &str) {
    if text.contains('\r') {
        return;
    }
    let line = text.split('\n').nth(location.line - 1).unwrap_or_default();
    if let Some(wrong) = wrong.chars().next() {
        assert_eq!(line.chars().nth(location.column - 1), Some(wrong), "{location}");
    }
}
