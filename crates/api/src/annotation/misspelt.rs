//! Recognises keys of annotations that are probably meant for interceptor.
//!
//! Kubernetes accepts any key, and a daemon that ignored a misspelt one would leave its author
//! without an answer. No other known product has a key with `debug` and one of the actions in it.

use crate::Action;

const DEBUG: &str = "debug";
/// Maximum length of a developer's name, as of a session's name.
const MAX_DEVELOPER: usize = 63;

/// What a misspelt key probably means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meant {
    pub(super) action: Action,
    /// A valid name for a developer.
    pub(super) developer: Option<String>,
}

/// What `key`, which is none of interceptor's keys, probably means. `None` if it belongs to
/// another program.
pub(super) fn meant(key: &str) -> Option<Meant> {
    let words = words(key);
    let exact = Action::ALL.into_iter().find_map(|action| {
        let debug = place(&words, DEBUG)?;
        let behind = place(&words, action.as_str())?;
        Some((action, debug.max(behind)))
    });
    let (action, last) = exact.or_else(|| mistyped(&words))?;
    Some(Meant { action, developer: developer(&words[last + 1..]) })
}

/// The parts of a key between punctuation, and between a small and a capital letter; in lower case.
fn words(key: &str) -> Vec<String> {
    let words = key.split(|c: char| !c.is_alphanumeric()).flat_map(humps);
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// Splits `debugRedirect` before its capital letter.
fn humps(word: &str) -> Vec<&str> {
    let mut humps = Vec::new();
    let (mut start, mut was_small) = (0, false);
    for (at, c) in word.char_indices() {
        if was_small && c.is_uppercase() {
            humps.push(&word[start..at]);
            start = at;
        }
        was_small = c.is_lowercase();
    }
    humps.push(&word[start..]);
    humps
}

/// The index of the word that contains `wanted`.
fn place(words: &[String], wanted: &str) -> Option<usize> {
    words.iter().position(|word| word.contains(wanted))
}

/// `debug` and an action as the first two words, with a typing error in one of them.
fn mistyped(words: &[String]) -> Option<(Action, usize)> {
    let [first, second, ..] = words else { return None };
    let fits = |debug: &str, word: &str, action: &str| {
        debug == DEBUG && is_near(word, action) || word == action && is_near(debug, DEBUG)
    };
    let action = Action::ALL.into_iter().find(|action| {
        fits(first, second, action.as_str()) || fits(second, first, action.as_str())
    })?;
    Some((action, 1))
}

/// Whether `word` is at most one typing error away from `meant`: one letter wrong, missing or too
/// many, or two neighbours swapped.
fn is_near(word: &str, meant: &str) -> bool {
    let same_start = common(word.chars(), meant.chars());
    let same_end = common(word.chars().rev(), meant.chars().rev());
    let longest = word.chars().count().max(meant.chars().count());
    let mistakes = longest.saturating_sub(same_start + same_end);
    mistakes <= 1 || (mistakes == 2 && letters(word) == letters(meant))
}

fn letters(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

/// The length of the common beginning, in characters.
fn common(a: impl Iterator<Item = char>, b: impl Iterator<Item = char>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

/// The words behind `debug` and the action as a developer's name: lower-case letters, digits and
/// `-`, with at least one letter.
fn developer(words: &[String]) -> Option<String> {
    let name = words.join("-");
    let valid = name.len() <= MAX_DEVELOPER
        && name.is_ascii()
        && name.bytes().any(|b| b.is_ascii_alphabetic());
    valid.then_some(name)
}
