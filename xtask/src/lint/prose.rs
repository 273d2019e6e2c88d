//! Checks texts against the style that `CONTRIBUTING.md` describes: comments, strings, Markdown and
//! the comments of configuration files.
//!
//! Three checks: lines have at most [`width::MAXIMUM`] columns, sentences have at most
//! [`MAXIMUM_WORDS`] words, and no phrase of the table in [`phrases`] occurs.

mod passages;
mod phrases;
mod width;

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use self::passages::Passage;
use crate::run;

/// Maximum number of words in a sentence of a comment or of Markdown. Code in backticks is one
/// word.
const MAXIMUM_WORDS: usize = 25;

/// Files that are not written by hand here, or that are exempt: below these paths.
const EXEMPT: [&str; 6] = [
    "LICENSE-",
    // Rewritten soon: frames in place of an endpoint.
    "interceptor/src/relay/http2",
    // Input of the parsers' tests, and of fuzzing.
    "fuzz/seeds/",
    // Other people's words.
    "xtask/src/image/musl-copyright.txt",
    "tests/h2spec/",
    // The phrases themselves.
    "xtask/src/lint/prose/",
];

/// One message for each finding, with file and line.
///
/// # Errors
///
/// Git does not list the files, or one can't be read.
pub(crate) fn find(root: &Path) -> Result<Vec<String>> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let list = run::output(Command::new("git").args(list).current_dir(root))?;
    let mut found = Vec::new();
    for name in list.lines().filter(|name| !EXEMPT.iter().any(|path| name.starts_with(path))) {
        let path = root.join(name);
        let Some(kind) = passages::kind(&path).filter(|_| path.is_file()) else { continue };
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let lines = width::find(&text, kind, is_test(name)).into_iter();
        let sentences = passages::read(&text, kind).into_iter().flat_map(|passage| check(&passage));
        let mut here = lines.chain(sentences).collect::<Vec<_>>();
        here.sort();
        found.extend(here.into_iter().map(|(line, what)| format!("{name}:{line}: {what}")));
    }
    Ok(found)
}

/// Whether a file has tests and what they need, and nothing else.
fn is_test(name: &str) -> bool {
    let folders = ["tests/", "testbed/", "e2e/", "benches/"];
    name.ends_with("tests.rs")
        || folders
            .iter()
            .any(|folder| name.starts_with(folder) || name.contains(&format!("/{folder}")))
}

/// What is wrong with a passage, each with its line.
fn check(passage: &Passage) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, phrase, instead) in phrases::find(&passage.text) {
        found.push((passage.line(at), format!("`{phrase}`: {instead}")));
    }
    for (at, words) in passage.sentences() {
        if words > MAXIMUM_WORDS {
            found.push((
                passage.line(at),
                format!("a sentence of {words} words; the maximum is {MAXIMUM_WORDS}: split it"),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests;
