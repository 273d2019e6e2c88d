//! Refuses imports that lead up: from a folder of the daemon to one that stands above it.

use std::path::Path;

use super::imports::Arrow;

/// The parts of `interceptor/src`, from the top floor down. A part may import from every part below
/// it and from none above.
const FLOORS: [(&str, &str); 15] = [
    ("app", "wires the parts of `interceptor run` together"),
    ("cli", "the command line"),
    ("commands", "every other command"),
    ("admin", "serves metrics, health and state"),
    ("kubernetes", "watches pods and reports on them"),
    ("control", "brings the node to what the specs ask for"),
    ("limits", "shares open files and memory out among the parts below"),
    ("relay", "moves the bytes of connections"),
    ("datapath", "loads the kernel programs and feeds their maps"),
    ("config", "reads workloads, annotations and policy"),
    ("netns", "finds and enters network namespaces"),
    ("readiness", "tells when the daemon is ready"),
    ("drain", "waits for the end of what is open"),
    ("backoff", "delays between attempts"),
    ("exit", "exit codes"),
];

/// The crate that has floors, and where its files are.
pub(crate) const CRATE: &str = "interceptor";
const FOLDER: &str = "interceptor/src";

/// One message for each import that leads up, and for each part that has no floor.
pub(crate) fn find(arrows: &[Arrow]) -> Vec<String> {
    let mut found = Vec::new();
    for Arrow { from, to, line, path } in arrows {
        let place = format!("{}:{line}", from.display());
        match (part(from), part(to)) {
            // The root file declares everything.
            ("lib" | "main", _) => {}
            (_, part @ ("lib" | "main")) => found.push(format!(
                "{place} uses `{path}` of the crate's root, {part}.rs: it only declares modules; \
                 move the item into one"
            )),
            (from, to) => match (floor(from), floor(to)) {
                (Some(high), Some(low)) if high > low => found.push(format!(
                    "{place} uses `{path}`: {from} stands below {to} (xtask/src/lint/floors.rs); \
                     move the item down, or let {to} hand it over"
                )),
                (Some(_), Some(_)) => {}
                (None, _) => found.push(no_floor(from)),
                (_, None) => found.push(no_floor(to)),
            },
        }
    }
    found.sort();
    found.dedup();
    found
}

fn no_floor(part: &str) -> String {
    format!("{part} has no floor: add it to the table in xtask/src/lint/floors.rs")
}

/// The top-level module that a file belongs to.
fn part(file: &Path) -> &str {
    let below = file.strip_prefix(FOLDER).unwrap_or(file);
    let first = below.iter().next().and_then(|first| first.to_str()).unwrap_or_default();
    first.strip_suffix(".rs").unwrap_or(first)
}

fn floor(part: &str) -> Option<usize> {
    FLOORS.iter().position(|(name, _)| *name == part)
}
