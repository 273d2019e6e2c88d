//! The workloads file: its fields, and how they become [`WorkloadSpec`]s.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use interceptor_rule::quoted;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_saphyr::Spanned;

use super::super::annotation::{self, AnnotationKey, DeclaredPorts};
use super::super::yaml::{Document, FileError, Location, ReadError, read as read_text};
use super::annotated::{AnnotatedRules, AnnotationSource};
use super::name::WorkloadName;
use super::{ExecChecks, MAX_DECLARED_PORTS, NetnsSource, WorkloadSpec};

/// Maximum number of workloads in one file.
pub const MAX_WORKLOADS: usize = 1000;
/// The largest process id of Linux (`PID_MAX_LIMIT`).
const MAX_PID: u32 = 1 << 22;

pub(super) const EXAMPLE: &str = "workloads: [{name: web, netns: /run/netns/web, ports: [8080]}]";
pub(super) const NAME_EXAMPLE: &str = "name: web-1.shop";
pub(super) const NETNS_EXAMPLE: &str = "netns: /run/netns/web";
pub(super) const PID_EXAMPLE: &str = "pid: 1234";
pub(super) const PORTS_EXAMPLE: &str = "ports: [8080, 9090]";

/// All workloads of one file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadsFile {
    /// The workloads. No name occurs twice.
    pub workloads: Vec<WorkloadSpec>,
}

/// Parses the text of a workloads file. `file_name` is for messages.
///
/// # Errors
/// The text is not a valid workloads file. Invalid rules are errors of their annotations only.
pub fn parse(text: &str, file_name: &str) -> Result<WorkloadsFile, FileError> {
    let (document, raw) = Document::load::<RawFile>(text, file_name, EXAMPLE)?;
    let Some(raw) = raw else {
        // Another process may be writing the file at this moment. A file without workloads has an
        // empty list.
        let start = interceptor_rule::Span { start: 0, end: 0 };
        let problem = "found nothing, expected a field `workloads`".to_owned();
        return Err(document.error_at(start, problem, EXAMPLE));
    };
    if let Some(extra) = raw.workloads.get(MAX_WORKLOADS) {
        let problem =
            format!("found {} workloads, expected at most {MAX_WORKLOADS}", raw.workloads.len());
        return Err(document.error(&extra.value.name, problem, EXAMPLE));
    }
    let mut lines: HashMap<WorkloadName, u64> = HashMap::new();
    let mut workloads = Vec::with_capacity(raw.workloads.len());
    for raw in &raw.workloads {
        let workload = workload(&document, raw)?;
        let place = &raw.value.name;
        if let Some(line) = lines.insert(workload.name.clone(), place.referenced.line()) {
            let problem = format!(
                "found a second workload `{}`, expected another name than on line {line}",
                workload.name
            );
            return Err(document.error(place, problem, NAME_EXAMPLE));
        }
        workloads.push(workload);
    }
    Ok(WorkloadsFile { workloads })
}

/// Reads and parses a workloads file.
///
/// # Errors
/// The file can't be read, is larger than [`MAX_FILE`](super::MAX_FILE), or is invalid.
pub fn read(path: &Path) -> Result<WorkloadsFile, ReadError> {
    Ok(parse(&read_text(path, EXAMPLE)?, &path.display().to_string())?)
}

// === the fields of the file ===

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    workloads: Vec<Spanned<RawWorkload>>,
}

/// Values are strings, also where YAML has numbers: the parsers of this crate give better messages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWorkload {
    name: Spanned<String>,
    netns: Option<Spanned<String>>,
    pid: Option<Spanned<String>>,
    ports: Option<Vec<Spanned<String>>>,
    annotations: Option<RawAnnotations>,
}

/// A mapping in the order of the file. The YAML parser refuses a key that occurs twice.
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

// === from fields to workloads ===

fn workload(
    document: &Document<'_>,
    raw: &Spanned<RawWorkload>,
) -> Result<WorkloadSpec, FileError> {
    let name = WorkloadName::new(&raw.value.name.value)
        .map_err(|problem| document.error(&raw.value.name, problem.to_string(), NAME_EXAMPLE))?;
    let netns = netns(document, raw)?;
    let ports = ports(document, raw.value.ports.as_deref().unwrap_or_default())?;
    let declared = DeclaredPorts::from(&ports[..]);
    let rules = raw
        .value
        .annotations
        .iter()
        .flat_map(|annotations| &annotations.0)
        .filter_map(|(key, value)| {
            Some(annotated(document, AnnotationKey::new(key)?, value, &declared))
        })
        .collect();
    Ok(WorkloadSpec {
        name,
        netns,
        ports,
        rules,
        health_checks: Vec::new(),
        exec_checks: ExecChecks::default(),
        obstacle: None,
        terminating: false,
    })
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
            let problem = format!(
                "expected a field `netns` or `pid` for workload `{}`, found none",
                name.value
            );
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
                "found {found} ports, expected at most {MAX_DECLARED_PORTS}"
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
    declared: &DeclaredPorts,
) -> AnnotatedRules {
    // `debug.redirect:` without a value is an annotation without a rule, which the parser reports.
    let value = raw.value.clone().unwrap_or_default();
    let location = Location::from(raw.referenced);
    let rules = annotation::parse(&key, &value, declared).map_err(|problem| {
        let source =
            AnnotationSource { file: &document.file, location, column: text_column(document, raw) };
        source.error(&key, &value, problem)
    });
    AnnotatedRules { key, value, written: None, rules }
}

/// The column in the file where the text of a value begins. `None` unless the value stands there as
/// it is: on one line and without escapes, with or without quotes.
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
