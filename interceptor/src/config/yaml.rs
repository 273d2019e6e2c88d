//! Reads YAML files and finds the places of their mistakes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use interceptor_rule::{Position, Span, quoted};
use serde::de::DeserializeOwned;
use serde_saphyr::{Error, Spanned};

/// Maximum size of a configuration file, in bytes.
pub const MAX_FILE: usize = 1024 * 1024;

/// Maximum depth of nested mappings and lists. Valid files need four; deeper ones could exhaust the
/// stack.
const MAX_DEPTH: usize = 16;

/// A place in a file. Both numbers start at 1, and a column is one character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The character in that line.
    pub column: usize,
}

/// The first mistake in a file.
///
/// [`Display`](fmt::Display) is one line for logs: the place, the problem and an example.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{location}: {problem} (example: `{example}`)")]
pub struct FileError {
    /// The name of the file, for messages.
    pub file: Arc<str>,
    /// The place of the mistake.
    pub location: Location,
    /// What was found, and what was expected.
    pub problem: String,
    /// A valid example.
    pub example: &'static str,
    /// The line of the file with `^^^` under the mistake, for terminals.
    pub caret: String,
}

/// A file that can't be read, or has a mistake.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file can't be read.
    #[error("can't read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file has a mistake.
    #[error(transparent)]
    Content(#[from] FileError),
}

/// The text of a file that is being parsed.
#[derive(Debug, Clone)]
pub(super) struct Document<'a> {
    pub(super) text: &'a str,
    pub(super) file: Arc<str>,
}

impl<'a> Document<'a> {
    /// Reads the YAML in `text`. The value is `None` if there are only white space and comments.
    pub(super) fn load<T: DeserializeOwned>(
        text: &'a str,
        file: &str,
        example: &'static str,
    ) -> Result<(Self, Option<T>), FileError> {
        let document = Self { text, file: file.into() };
        if text.len() > MAX_FILE {
            let problem = format!("found {} bytes, expected at most {MAX_FILE}", text.len());
            let start = text.floor_char_boundary(MAX_FILE);
            return Err(document.error_at(Span { start, end: start }, problem, example));
        }
        let options = serde_saphyr::options! {
            with_snippet: false,
            // With aliases, a small file could describe gigabytes.
            merge_keys: serde_saphyr::MergeKeyPolicy::Error,
            budget: serde_saphyr::budget! {
                max_aliases: 0,
                max_depth: MAX_DEPTH,
                flow_nesting_limit: MAX_DEPTH,
            },
        };
        match serde_saphyr::from_str_with_options(text, options) {
            Ok(value) => Ok((document, Some(value))),
            Err(Error::Eof { .. }) if is_blank(text) => Ok((document, None)),
            Err(error) => Err(document.explain(&error, example)),
        }
    }

    /// An error about `value`.
    pub(super) fn error<T>(
        &self,
        value: &Spanned<T>,
        problem: impl Into<String>,
        example: &'static str,
    ) -> FileError {
        let span = self.span(value.referenced).unwrap_or(Span { start: 0, end: 0 });
        let mut error = self.error_at(span, problem.into(), example);
        error.location = value.referenced.into();
        error
    }

    pub(super) fn error_at(&self, span: Span, problem: String, example: &'static str) -> FileError {
        FileError {
            file: Arc::clone(&self.file),
            location: Position::of(self.text, span.start).into(),
            problem,
            example,
            caret: interceptor_rule::caret(self.text, span),
        }
    }

    /// The place of a value, with its quotes if it has any.
    pub(super) fn span(&self, location: serde_saphyr::Location) -> Option<Span> {
        let start = usize::try_from(location.span().byte_offset()?).ok()?;
        let length = usize::try_from(location.span().byte_len()?).ok()?;
        let end = start.checked_add(length)?;
        self.text.get(start..end).map(|_| Span { start, end })
    }

    /// Turns an error of the YAML library, which is for programmers, into one for authors of the
    /// file.
    fn explain(&self, error: &Error, example: &'static str) -> FileError {
        let error = error.without_snippet();
        let location = error.location();
        let span = location
            .and_then(|location| self.span(location))
            .or_else(|| Some(self.line_and_column(location?)))
            .unwrap_or(Span { start: self.text.len(), end: self.text.len() });
        // The place of a missing field is the whole mapping; only its beginning is shown.
        let span = match error {
            Error::SerdeMissingField { .. } => Span { start: span.start, end: span.start },
            _ => span,
        };
        let mut explained = self.error_at(span, problem(error), example);
        if let Some(location) = location {
            explained.location = location.into();
        }
        explained
    }

    fn line_and_column(&self, location: serde_saphyr::Location) -> Span {
        let Location { line, column } = location.into();
        let start: usize = self.text.split_inclusive('\n').take(line - 1).map(str::len).sum();
        let rest = &self.text[start..];
        let start = start + rest.char_indices().nth(column - 1).map_or(rest.len(), |(at, _)| at);
        Span { start, end: start }
    }
}

fn problem(error: &Error) -> String {
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("unknown field {}, expected {}", quoted(field), one_of(expected))
        }
        Error::SerdeMissingField { field, .. } => format!("expected a field `{field}`, found none"),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("found {} a second time, expected it once", quoted(key))
        }
        Error::Unexpected { expected: "sequence start", .. } => "expected a list".to_owned(),
        Error::Unexpected { expected: "mapping start", .. } => {
            "expected `key: value` lines".to_owned()
        }
        Error::Unexpected { expected: "string scalar", .. } => {
            "expected one value, found a list or a mapping".to_owned()
        }
        Error::NullIntoString { .. } => "expected a value, found none".to_owned(),
        Error::MultipleDocuments { .. } => {
            "expected one YAML document, found a second one".to_owned()
        }
        Error::MergeKeyNotAllowed { .. } => {
            "found a merge key (`<<`), expected none in this file".to_owned()
        }
        Error::Budget { breach: serde_saphyr::budget::BudgetBreach::Aliases { .. }, .. } => {
            "found an alias (`*name`), expected none in this file".to_owned()
        }
        other => {
            // The message ends with the place, which `FileError` prints first.
            let text = other.to_string();
            let place = other.location().map(|location| {
                format!(" at line {}, column {}", location.line(), location.column())
            });
            let text = place.and_then(|place| text.strip_suffix(&place)).unwrap_or(&text);
            let escaped = |c: char| {
                if c.is_control() { c.escape_default().collect() } else { String::from(c) }
            };
            format!("expected YAML: {}", text.chars().map(escaped).collect::<String>())
        }
    }
}

/// `a`, `b` or `c`
pub(super) fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
    }
}

fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#'))
}

/// Reads a file of at most [`MAX_FILE`] bytes.
pub(super) fn read(path: &Path, example: &'static str) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    // One byte above the maximum shows that the file is too large.
    File::open(path)
        .and_then(|file| file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| ReadError::Io { path: path.into(), source })?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        let document = Document { text: &text, file: path.display().to_string().into() };
        let span = Span { start: good, end: good };
        document.error_at(span, "expected UTF-8 text, found other bytes".to_owned(), example).into()
    })
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl From<Position> for Location {
    fn from(Position { line, column }: Position) -> Self {
        Self { line, column }
    }
}

impl From<serde_saphyr::Location> for Location {
    fn from(location: serde_saphyr::Location) -> Self {
        // The library reports 0 for an unknown place.
        let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX).max(1);
        Self { line: number(location.line()), column: number(location.column()) }
    }
}
