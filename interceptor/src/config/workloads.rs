//! The workloads of the stand-alone mode: from the file of `--workloads`, or from flags.
//!
//! A file that is broken is an error as a whole, and its reader keeps what was there before. A mistake inside
//! one annotation is an error of that annotation alone.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use interceptor_rule::{Position, Rule, quoted};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_saphyr::Spanned;

use super::annotation::{AnnotationKey, Problem};
use super::yaml::{Document, read as read_text};
pub use super::yaml::{FileError, Location, MAX_FILE, ReadError};

#[cfg(test)]
mod tests;

/// Workloads in one file.
pub const MAX_WORKLOADS: usize = 1000;
/// Ports that one workload declares.
pub const MAX_DECLARED_PORTS: usize = 64;
/// The largest process id that Linux gives (`PID_MAX_LIMIT`).
const MAX_PID: u32 = 1 << 22;
/// Characters in the name of a workload.
const MAX_NAME: usize = 253;

const EXAMPLE: &str = "workloads: [{name: web, netns: /run/netns/web, ports: [8080]}]";
const NAME_EXAMPLE: &str = "name: web-1.shop";
const NETNS_EXAMPLE: &str = "netns: /run/netns/web";
const PID_EXAMPLE: &str = "pid: 1234";
const PORTS_EXAMPLE: &str = "ports: [8080, 9090]";

/// All workloads of one file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadsFile {
    /// The workloads; no two have the same name.
    pub workloads: Vec<Workload>,
}

/// A network namespace and what to do with its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// What logs, metrics and `status` call it.
    pub name: WorkloadName,
    /// Where its network namespace is.
    pub netns: NetnsSource,
    /// What a rule without ports means; none twice.
    pub ports: Vec<NonZeroU16>,
    /// The annotations of ours, in the order of the file. Others were left out.
    pub rules: Vec<AnnotatedRules>,
}

/// A name of lower-case letters, digits, `-` and `.`, as Kubernetes names its objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadName(Arc<str>);

/// How to find a network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NetnsSource {
    /// An absolute path, e.g. `/run/netns/web`.
    Path(PathBuf),
    /// A process that lives in it.
    Pid(u32),
}

/// One annotation and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotatedRules {
    /// The key.
    pub key: AnnotationKey,
    /// The value as it was written, without quotes.
    pub value: String,
    /// Where the value begins.
    pub location: Location,
    /// The rules, all of which can be carried out; or why the annotation has no effect.
    pub rules: Result<Vec<Rule>, AnnotationError>,
}

/// An annotation that has no effect.
///
/// `exact` says whether the place is that of the mistake. If the value has several lines or escapes, only its
/// beginning is known in the file, and the message has the line and column inside of the value as well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{location}: {key}: {}{problem}", inside(*.position, *.exact))]
pub struct AnnotationError {
    /// The file, or the flag.
    pub file: Arc<str>,
    /// The place in it.
    pub location: Location,
    /// Is `location` the place of the mistake?
    pub exact: bool,
    /// The annotation.
    pub key: AnnotationKey,
    /// The place in the annotation's value.
    pub position: Option<Position>,
    /// What is wrong.
    pub problem: Problem,
    /// The line of the value with `^^^` under the place, for terminals.
    pub caret: Option<String>,
}

/// A flag that does not describe a workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// The path is relative.
    #[error("expected an absolute path, found `{}` (example: `--netns /run/netns/web`)", .0.display())]
    Relative(PathBuf),
    /// The last part of the path can't be a name.
    #[error(
        "{problem} as the last part of `{}`, because it names the workload (a workloads file can name it otherwise)",
        path.display()
    )]
    Name {
        /// The path.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Parses the text of a workloads file; `file_name` is for messages.
pub fn parse(text: &str, file_name: &str) -> Result<WorkloadsFile, FileError> {
    let (document, raw) = Document::load::<RawFile>(text, file_name, EXAMPLE)?;
    let Some(raw) = raw else {
        // Somebody may be writing the file right now; no workloads at all are written as an empty list.
        let start = interceptor_rule::Span { start: 0, end: 0 };
        let problem = "found nothing, expected a field `workloads`".to_owned();
        return Err(document.error_at(start, problem, EXAMPLE));
    };
    if let Some(extra) = raw.workloads.get(MAX_WORKLOADS) {
        let problem = format!(
            "found {} workloads, expected at most {MAX_WORKLOADS} (MAX_WORKLOADS)",
            raw.workloads.len()
        );
        return Err(document.error(&extra.value.name, problem, EXAMPLE));
    }
    let mut lines: HashMap<WorkloadName, u64> = HashMap::new();
    let mut workloads = Vec::with_capacity(raw.workloads.len());
    for raw in &raw.workloads {
        let workload = workload(&document, raw)?;
        let place = &raw.value.name;
        if let Some(line) = lines.insert(workload.name.clone(), place.referenced.line()) {
            let problem = format!(
                "found a second workload `{}`, expected another name than in line {line}",
                workload.name
            );
            return Err(document.error(place, problem, NAME_EXAMPLE));
        }
        workloads.push(workload);
    }
    Ok(WorkloadsFile { workloads })
}

/// Reads and parses a workloads file.
pub fn read(path: &Path) -> Result<WorkloadsFile, ReadError> {
    Ok(parse(&read_text(path, EXAMPLE)?, &path.display().to_string())?)
}

// === the file as it is written ===

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    workloads: Vec<Spanned<RawWorkload>>,
}

/// Values are strings, whatever they look like in YAML: our own parsers give the better messages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWorkload {
    name: Spanned<String>,
    netns: Option<Spanned<String>>,
    pid: Option<Spanned<String>>,
    ports: Option<Vec<Spanned<String>>>,
    annotations: Option<RawAnnotations>,
}

/// A mapping in the order of the file. The library refuses a key that comes twice.
struct RawAnnotations(Vec<(String, Spanned<Option<String>>)>);

impl<'de> Deserialize<'de> for RawAnnotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = RawAnnotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations as `key: value` lines")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut annotations = Vec::new();
                while let Some(annotation) = map.next_entry()? {
                    annotations.push(annotation);
                }
                Ok(RawAnnotations(annotations))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

// === from written to checked ===

fn workload(document: &Document<'_>, raw: &Spanned<RawWorkload>) -> Result<Workload, FileError> {
    let name = WorkloadName::new(&raw.value.name.value)
        .map_err(|problem| document.error(&raw.value.name, problem, NAME_EXAMPLE))?;
    let netns = netns(document, raw)?;
    let ports = ports(document, raw.value.ports.as_deref().unwrap_or_default())?;
    let rules = raw
        .value
        .annotations
        .iter()
        .flat_map(|annotations| &annotations.0)
        .filter_map(|(key, value)| Some(annotated(document, AnnotationKey::new(key)?, value, &ports)))
        .collect();
    Ok(Workload { name, netns, ports, rules })
}

fn netns(document: &Document<'_>, raw: &Spanned<RawWorkload>) -> Result<NetnsSource, FileError> {
    match (&raw.value.netns, &raw.value.pid) {
        (Some(path), None) if path.value.starts_with('/') && !path.value.contains('\0') => {
            Ok(NetnsSource::Path(PathBuf::from(&path.value)))
        }
        (Some(path), None) => {
            let problem = format!("found {}, expected an absolute path", quoted(&path.value));
            Err(document.error(path, problem, NETNS_EXAMPLE))
        }
        (None, Some(pid)) => match pid.value.parse() {
            Ok(number @ 1..=MAX_PID) => Ok(NetnsSource::Pid(number)),
            _ => {
                let found = quoted(&pid.value);
                let problem = format!("found {found}, expected a process id from 1 to {MAX_PID}");
                Err(document.error(pid, problem, PID_EXAMPLE))
            }
        },
        (Some(_), Some(pid)) => {
            let problem = "found both `netns` and `pid`, expected exactly one of them";
            Err(document.error(pid, problem, NETNS_EXAMPLE))
        }
        (None, None) => {
            let name = &raw.value.name;
            let problem =
                format!("expected a field `netns` or `pid` for workload `{}`, found none", name.value);
            Err(document.error(name, problem, NETNS_EXAMPLE))
        }
    }
}

fn ports(document: &Document<'_>, raw: &[Spanned<String>]) -> Result<Vec<NonZeroU16>, FileError> {
    let mut ports = Vec::with_capacity(raw.len().min(MAX_DECLARED_PORTS));
    for text in raw {
        let error = |problem: String| document.error(text, problem, PORTS_EXAMPLE);
        if ports.len() == MAX_DECLARED_PORTS {
            let found = raw.len();
            return Err(error(format!(
                "found {found} ports, expected at most {MAX_DECLARED_PORTS} (MAX_DECLARED_PORTS)"
            )));
        }
        let digits = text.value.bytes().all(|b| b.is_ascii_digit());
        let port = text.value.parse::<NonZeroU16>().ok().filter(|_| digits).ok_or_else(|| {
            error(format!("found {}, expected a port from 1 to 65535", quoted(&text.value)))
        })?;
        if ports.contains(&port) {
            return Err(error(format!("found `{port}` a second time, expected each port once")));
        }
        ports.push(port);
    }
    Ok(ports)
}

fn annotated(
    document: &Document<'_>,
    key: AnnotationKey,
    raw: &Spanned<Option<String>>,
    declared: &[NonZeroU16],
) -> AnnotatedRules {
    // `debug.redirect:` with nothing behind it is an annotation without a rule, which the parser reports.
    let value = raw.value.clone().unwrap_or_default();
    let location = Location::from(raw.referenced);
    let rules = key.rules(&value, declared).map_err(|problem| {
        let source = AnnotationSource { file: &document.file, location, column: text_column(document, raw) };
        source.error(&key, &value, problem)
    });
    AnnotatedRules { key, value, location, rules }
}

/// The column in the file where the text of a value begins, if the value stands there as it is: on one line
/// and without escapes, with or without quotes.
fn text_column(document: &Document<'_>, raw: &Spanned<Option<String>>) -> Option<usize> {
    let column = Location::from(raw.referenced).column;
    let Some(value) = raw.value.as_deref() else { return Some(column) };
    let written = document.span(raw.referenced)?.of(document.text);
    if value.contains(['\n', '\r']) {
        return None;
    }
    if written == value {
        return Some(column);
    }
    let inside = |quote| written.strip_prefix(quote)?.strip_suffix(quote);
    (inside('"').or_else(|| inside('\'')) == Some(value)).then_some(column + 1)
}

/// Where the value of an annotation comes from.
struct AnnotationSource<'a> {
    file: &'a Arc<str>,
    /// The beginning of the value.
    location: Location,
    /// The column of the first character of its text, if all of it is on that line.
    column: Option<usize>,
}

impl AnnotationSource<'_> {
    fn error(&self, key: &AnnotationKey, value: &str, problem: Problem) -> AnnotationError {
        let span = problem.span();
        let position = span.map(|span| Position::of(value, span.start));
        let location = match (self.column, position) {
            (Some(column), Some(position)) => {
                Location { line: self.location.line, column: column + position.column - 1 }
            }
            _ => self.location,
        };
        AnnotationError {
            file: Arc::clone(self.file),
            location,
            // Without a position it is the key that is wrong, which the message names.
            exact: self.column.is_some() || position.is_none(),
            key: key.clone(),
            position,
            problem,
            caret: span.map(|span| interceptor_rule::caret(value, span)),
        }
    }
}

fn inside(position: Option<Position>, exact: bool) -> String {
    match position {
        Some(Position { line, column }) if !exact => {
            format!("in the value that begins here, line {line}, column {column}: ")
        }
        _ => String::new(),
    }
}

// === from flags ===

impl Workload {
    /// The workload that `--netns` and the `--redirect` of it describe. It has the name of the path's last
    /// part, and one `debug.redirect` per rule text.
    pub fn from_flag(netns: &Path, rules: &[impl AsRef<str>]) -> Result<Self, FlagError> {
        if !netns.is_absolute() {
            return Err(FlagError::Relative(netns.into()));
        }
        let last = netns.file_name().unwrap_or_default().to_string_lossy();
        let name =
            WorkloadName::new(&last).map_err(|problem| FlagError::Name { path: netns.into(), problem })?;
        let flag: Arc<str> = "--redirect".into();
        let location = Location { line: 1, column: 1 };
        let rules = rules
            .iter()
            .map(|text| {
                let (key, value) = (AnnotationKey::redirect(), text.as_ref().to_owned());
                let column = (!value.contains('\n')).then_some(1);
                let source = AnnotationSource { file: &flag, location, column };
                let rules = key.rules(&value, &[]).map_err(|problem| source.error(&key, &value, problem));
                AnnotatedRules { key, value, location, rules }
            })
            .collect();
        Ok(Self { name, netns: NetnsSource::Path(netns.into()), ports: Vec::new(), rules })
    }
}

impl WorkloadName {
    /// Checks a name; the error says what was found and expected.
    pub fn new(name: &str) -> Result<Self, String> {
        let label = |label: &str| {
            label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && label.starts_with(|c: char| c != '-')
                && label.ends_with(|c: char| c != '-')
        };
        if name.len() > MAX_NAME {
            return Err(format!("found {} characters, expected at most {MAX_NAME}", name.chars().count()));
        }
        if !name.split('.').all(label) {
            let found = quoted(name);
            return Err(format!(
                "found {found}, expected a name of lower-case letters, digits, `-` and `.` that begins and ends \
                 with a letter or digit"
            ));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NetnsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Pid(pid) => write!(f, "pid {pid}"),
        }
    }
}
