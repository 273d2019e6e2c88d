//! One annotation of a workload: its rules, or an error with its place.

use std::{fmt, sync::Arc};

use interceptor_rule::{MAX_RULE_TEXT, Position, Rule};

use super::super::{
    annotation::{self, AnnotationKey, DeclaredPorts, Problem},
    yaml::Location,
};
use super::written::Written;

/// An annotation and its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotatedRules {
    /// The key.
    pub key: AnnotationKey,
    /// The value, without the quotes of YAML.
    pub value: String,
    /// When the annotation was last written, and with which tool, if that is known. A `ttl` counts
    /// from then, also across restarts of the daemon.
    pub written: Option<Written>,
    /// The rules, or the error because of which the annotation has no effect.
    pub rules: Result<Vec<Rule>, AnnotationError>,
}

/// An annotation that has no effect.
///
/// [`Display`](fmt::Display) is one line: the place, the key and the problem. On a pod it leaves
/// out the key, because the reports name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotationError {
    /// Where the annotation stands.
    pub origin: Origin,
    /// The key.
    pub key: AnnotationKey,
    /// The place of the mistake in the annotation's value. `None` if the key is wrong.
    pub position: Option<Position>,
    /// The mistake.
    pub problem: Problem,
    /// The line of the value with `^^^` under the mistake, for terminals.
    pub caret: Option<String>,
}

/// Where an annotation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a file, or in a flag.
    File {
        /// The file or the flag.
        file: Arc<str>,
        /// A place in it.
        location: Location,
        /// Whether `location` is the place of the mistake. In a value with several lines or
        /// escapes it is the beginning of the value, and the message has the place inside
        /// the value too.
        exact: bool,
    },
    /// On a pod.
    Pod,
}

/// The place of an annotation's value in a file or a flag.
pub(super) struct AnnotationSource<'a> {
    pub(super) file: &'a Arc<str>,
    /// The beginning of the value.
    pub(super) location: Location,
    /// The column of the first character of its text, if the text stands on one line as it is.
    pub(super) column: Option<usize>,
}

// === impl AnnotatedRules ===

impl AnnotatedRules {
    /// Reads an annotation of a pod.
    pub fn of_pod(
        key: AnnotationKey,
        value: &str,
        written: Option<Written>,
        declared: &DeclaredPorts,
    ) -> Self {
        // A pod's value may be far longer than any rule. The daemon keeps only enough of it to see
        // that it is too long.
        let value = &value[..value.floor_char_boundary(MAX_RULE_TEXT + char::MAX_LEN_UTF8)];
        let rules = annotation::parse(&key, value, declared)
            .map_err(|problem| AnnotationError::new(Origin::Pod, &key, value, problem));
        Self { key, value: value.to_owned(), written, rules }
    }
}

// === impl AnnotationError ===

impl AnnotationError {
    fn new(origin: Origin, key: &AnnotationKey, value: &str, problem: Problem) -> Self {
        let span = problem.span();
        Self {
            origin,
            key: key.clone(),
            position: span.map(|span| Position::of(value, span.start)),
            problem,
            caret: span.map(|span| interceptor_rule::caret(value, span)),
        }
    }
}

impl fmt::Display for AnnotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Origin::File { file, location, .. } = &self.origin {
            write!(f, "{file}:{location}: {}: ", self.key)?;
        }
        match (self.position, &self.origin) {
            (Some(Position { line, column }), Origin::File { exact: false, .. }) => {
                write!(f, "in the value that begins here, line {line}, column {column}: ")?;
            }
            (Some(Position { line: 1, column }), Origin::Pod) => write!(f, "column {column}: ")?,
            (Some(Position { line, column }), Origin::Pod) => {
                write!(f, "line {line}, column {column}: ")?;
            }
            (Some(_), Origin::File { exact: true, .. }) | (None, _) => {}
        }
        write!(f, "{}", self.problem)
    }
}

impl std::error::Error for AnnotationError {}

// === impl AnnotationSource ===

impl AnnotationSource<'_> {
    pub(super) fn error(
        &self,
        key: &AnnotationKey,
        value: &str,
        problem: Problem,
    ) -> AnnotationError {
        let position = problem.span().map(|span| Position::of(value, span.start));
        let location = match (self.column, position) {
            (Some(column), Some(position)) => {
                Location { line: self.location.line, column: column + position.column - 1 }
            }
            _ => self.location,
        };
        // Without a position the key is wrong, which the message names.
        let exact = self.column.is_some() || position.is_none();
        let origin = Origin::File { file: Arc::clone(self.file), location, exact };
        AnnotationError::new(origin, key, value, problem)
    }
}
