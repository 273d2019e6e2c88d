//! The texts in a file: paragraphs of comments and Markdown, and strings.
//!
//! Code in backticks, links and placeholders are replaced by one word, [`CODE`], since they follow
//! other rules.

use std::path::Path;

use crate::lint::lexer::{self, Token};

/// Stands for code.
const CODE: &str = "CODE";

/// A string with fewer words is a name or a key.
const MINIMUM_WORDS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rust,
    Markdown,
    /// Comments begin with `#`: YAML, TOML, shell, Dockerfile.
    Hash,
}

/// Some sentences that belong together.
#[derive(Debug, Default)]
pub(crate) struct Passage {
    pub(crate) text: String,
    /// Where each line begins in the text, and its number.
    lines: Vec<(usize, usize)>,
    /// Strings may be fragments of sentences that code puts together.
    is_fragment: bool,
}

// === impl Passage ===

impl Passage {
    fn add(&mut self, line: usize, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.lines.push((self.text.len(), line));
        self.text.push_str(text.trim());
    }

    /// The line of the source at a place in the text.
    pub(crate) fn line(&self, at: usize) -> usize {
        let before = self.lines.iter().take_while(|(begin, _)| *begin <= at);
        before.last().map_or(1, |(_, line)| *line)
    }

    /// Where each sentence begins, and its number of words.
    pub(crate) fn sentences(&self) -> Vec<(usize, usize)> {
        if self.is_fragment {
            return Vec::new();
        }
        let mut sentences = vec![(0, 0)];
        let mut at = 0;
        for word in self.text.split_inclusive(char::is_whitespace) {
            let end = sentences.len() - 1;
            sentences[end].1 += usize::from(word.chars().any(char::is_alphanumeric));
            at += word.len();
            let word = word.trim_end().trim_end_matches([')', '"', '*', '_']);
            let is_abbreviation = ["e.g.", "i.e.", "etc.", "vs."].contains(&word);
            if word.ends_with(['.', '?', '!', ';', ':']) && !is_abbreviation {
                sentences.push((at, 0));
            }
        }
        sentences
    }
}

/// How to read a file, by its name. Nothing for files without prose.
pub(crate) fn kind(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_str()?;
    match name.rsplit_once('.').map_or(name, |(_, extension)| extension) {
        "rs" => Some(Kind::Rust),
        "md" => Some(Kind::Markdown),
        "yaml" | "yml" | "toml" | "sh" | "Dockerfile" | "run" => Some(Kind::Hash),
        _ => None,
    }
}

pub(crate) fn read(text: &str, kind: Kind) -> Vec<Passage> {
    match kind {
        Kind::Rust => rust(text),
        Kind::Markdown => paragraphs(text.lines().enumerate().map(|(at, line)| (at + 1, line))),
        Kind::Hash => {
            let comment = |(at, line): (usize, _)| {
                Some((
                    at + 1,
                    str::trim_start(line).strip_prefix('#')?.trim_start_matches(['#', '-', '!']),
                ))
            };
            let comments = text.lines().enumerate().filter_map(comment).collect::<Vec<_>>();
            blocks(&comments)
        }
    }
}

fn rust(text: &str) -> Vec<Passage> {
    let tokens = lexer::tokens(text);
    let mut comments = Vec::new();
    for token in tokens.iter().filter(|token| token.kind == lexer::Kind::Comment) {
        let text = token.text.trim_start_matches(['/', '!', '*']).trim_end_matches("*/");
        comments.extend(text.lines().enumerate().map(|(at, line)| (token.line + at, line)));
    }
    let mut passages = blocks(&comments);
    passages.extend(tokens.iter().filter_map(string));
    passages
}

/// Lines that follow one another without a gap, each run as paragraphs.
fn blocks(lines: &[(usize, &str)]) -> Vec<Passage> {
    let runs = lines.chunk_by(|(line, _), (next, _)| line + 1 == *next);
    runs.flat_map(|run| paragraphs(run.iter().copied())).collect()
}

/// Paragraphs of Markdown, without code blocks and tables.
fn paragraphs<'t>(lines: impl Iterator<Item = (usize, &'t str)>) -> Vec<Passage> {
    let mut passages = vec![Passage::default()];
    let mut in_code = false;
    for (number, line) in lines {
        let text = line.trim();
        let is_fence = text.starts_with("```");
        in_code ^= is_fence;
        let is_break = text.is_empty() || text.starts_with(['|', '#']) || is_fence || in_code;
        let is_item = text.starts_with("- ") || text.starts_with("* ") || is_numbered(text);
        if (is_break || is_item) && !passages[passages.len() - 1].text.is_empty() {
            passages.push(Passage::default());
        }
        let last = passages.len() - 1;
        if text.starts_with('#') {
            passages[last].add(number, text.trim_start_matches('#'));
            passages.push(Passage::default());
        } else if !is_break {
            passages[last].add(number, text);
        }
    }
    for passage in &mut passages {
        *passage = without_code(passage);
    }
    passages.retain(|passage| !passage.text.is_empty());
    passages
}

fn is_numbered(text: &str) -> bool {
    let rest = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
    rest.len() < text.len() && rest.starts_with(". ")
}

/// The text of a string, if it is prose.
fn string(token: &Token<'_>) -> Option<Passage> {
    let prefix = token.text.find('"')?;
    if token.kind != lexer::Kind::String || token.text.starts_with('b') {
        return None;
    }
    let inside = token.text[prefix..].trim_matches('#').trim_matches('"');
    let mut passage = Passage { is_fragment: true, ..Passage::default() };
    for (at, line) in inside.lines().enumerate() {
        passage.add(token.line + at, line.trim_end_matches('\\'));
    }
    let passage = without_code(&passage);
    (passage.text.split_whitespace().count() >= MINIMUM_WORDS).then_some(passage)
}

/// With code, links and placeholders replaced. Places and lines stay right.
fn without_code(passage: &Passage) -> Passage {
    let mut result = Passage { is_fragment: passage.is_fragment, ..Passage::default() };
    let (mut rest, mut begin) = (passage.text.as_str(), 0);
    let mut lines = passage.lines.iter().copied().peekable();
    while !rest.is_empty() {
        // All lines that begin up to here.
        while let Some((at, line)) = lines.next_if(|(at, _)| *at <= begin) {
            let _ = at;
            result.lines.push((result.text.len(), line));
        }
        let length = code_length(rest, passage.is_fragment);
        let length = match length {
            Some(length) => {
                result.text.push_str(CODE);
                length
            }
            None => {
                let length = rest.chars().next().map_or(1, char::len_utf8);
                result.text.push_str(&rest[..length]);
                length
            }
        };
        rest = &rest[length..];
        begin += length;
    }
    result
}

/// The length of the code that the text begins with.
fn code_length(text: &str, is_string: bool) -> Option<usize> {
    let ticks = text.len() - text.trim_start_matches('`').len();
    if ticks > 0 {
        let end = text[ticks..].find(&"`".repeat(ticks))?;
        return Some(end + 2 * ticks);
    }
    if text.starts_with("](") {
        return text.find(')').map(|end| end + 1);
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        return Some(text.find(char::is_whitespace).unwrap_or(text.len()));
    }
    if is_string && text.starts_with('{') {
        return text.find('}').map(|end| end + 1);
    }
    None
}
