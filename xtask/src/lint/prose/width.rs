//! Lines that are too long: of comments, of prose in strings, of Markdown.
//!
//! The width of code is rustfmt's affair. Lines with a link may be longer, as may Markdown's tables
//! and code blocks, and strings in tests, which compare better in one piece.

use std::collections::BTreeSet;

use super::passages::Kind;
use crate::lint::lexer::{self, Token};

/// Maximum width of a line, in columns.
pub(crate) const MAXIMUM: usize = 100;

/// Minimum number of spaces in a string that can be broken at several places.
const MINIMUM_SPACES: usize = 3;

/// Each line that is too long.
pub(crate) fn find(text: &str, kind: Kind, is_test: bool) -> Vec<(usize, String)> {
    let prose = match kind {
        Kind::Rust => rust(text, is_test),
        Kind::Markdown => markdown(text),
        Kind::Hash => lines(text, |line| line.trim_start().starts_with('#')),
    };
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(number, _)| prose.contains(number)) {
        let width = line.chars().count();
        if width > MAXIMUM && !line.contains("://") {
            found.push((number, format!("{width} columns; the maximum is {MAXIMUM}")));
        }
    }
    found
}

/// The lines on which comments and prose in strings stand.
fn rust(text: &str, is_test: bool) -> BTreeSet<usize> {
    let tokens = lexer::tokens(text);
    let code = if is_test { Vec::new() } else { lexer::without_tests(&tokens) };
    let comments = tokens.iter().filter(|token| token.kind == lexer::Kind::Comment);
    comments.chain(code.iter().filter(|token| is_prose(token))).flat_map(rows).collect()
}

fn is_prose(token: &Token<'_>) -> bool {
    let is_string = token.kind == lexer::Kind::String && token.text.starts_with('"');
    is_string && token.text.matches(' ').count() >= MINIMUM_SPACES
}

/// The numbers of a token's lines.
fn rows(token: &Token<'_>) -> std::ops::Range<usize> {
    token.line..token.line + token.text.lines().count()
}

fn markdown(text: &str) -> BTreeSet<usize> {
    let mut in_code = false;
    lines(text, |line| {
        let line = line.trim_start();
        in_code ^= line.starts_with("```");
        !in_code && !line.starts_with('|')
    })
}

fn lines(text: &str, mut wanted: impl FnMut(&str) -> bool) -> BTreeSet<usize> {
    (1..).zip(text.lines()).filter(|(_, line)| wanted(line)).map(|(number, _)| number).collect()
}
