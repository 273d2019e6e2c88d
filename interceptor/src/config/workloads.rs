//! The workloads of the stand-alone mode: from the file of `--workloads`, or from flags.
//!
//! A file that is broken is an error as a whole, and its reader keeps what was there before. A mistake inside
//! one annotation is an error of that annotation alone.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use interceptor_rule::{MAX_RULE_TEXT, Position, Rule, quoted};

use super::annotation::{self, AnnotationKey, Problem};
pub use super::yaml::{FileError, Location, MAX_FILE, ReadError};

mod file;
#[cfg(test)]
mod tests;

pub use file::{parse, read};

/// Workloads in one file.
pub const MAX_WORKLOADS: usize = 1000;
/// Ports that one workload declares.
pub const MAX_DECLARED_PORTS: usize = 64;
/// Annotations of ours on one pod, each of which has a condition of its own there.
pub const MAX_ANNOTATIONS: usize = 64;
/// Characters in the name of a workload.
const MAX_NAME: usize = 253;

/// All workloads of one file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadsFile {
    /// The workloads; no two have the same name.
    pub workloads: Vec<WorkloadSpec>,
}

/// A network namespace and what to do with its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadSpec {
    /// What logs, metrics and `status` call it.
    pub name: WorkloadName,
    /// Where its network namespace is.
    pub netns: NetnsSource,
    /// What a rule without ports means; none twice.
    pub ports: Vec<NonZeroU16>,
    /// The annotations of ours, in the order of the file. Others were left out.
    pub rules: Vec<AnnotatedRules>,
    /// How the kubelet asks whether the workload is well; it must go on reaching the application.
    pub health_checks: Vec<HealthCheck>,
    /// Why no rule can take effect, whatever it says.
    pub obstacle: Option<Obstacle>,
    /// It is being deleted: what is in force stays until its namespace goes, and is not looked for any more. Its address
    /// may be another pod's by then.
    pub terminating: bool,
}

/// A probe of the kubelet, as the pod's spec describes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// The port that is asked.
    pub port: NonZeroU16,
    /// How its connections are told from others.
    pub sign: HealthSign,
}

/// What tells a kubelet's connection from that of another caller on the same node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HealthSign {
    /// An HTTP request whose `User-Agent` begins with this.
    UserAgent(String),
    /// Encrypted: any TLS connection from the node.
    Tls,
    /// gRPC: the kubelet says nothing of itself before the server has spoken; any HTTP/2 connection from the node.
    Http2,
}

/// Why nothing can be done for a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It lives in the node's own namespace.
    HostNetwork,
    /// Its runtime class keeps the network inside of a virtual machine or a kernel of its own.
    Sandboxed(String),
    /// It has no address yet; the phase as Kubernetes names it.
    NotRunning(String),
    /// The address that it had is not its own any more: its sandbox is gone, or the node was started anew since.
    NoSandbox,
    /// Another pod is said to have its address, so that one of them has it no more.
    SharedAddress {
        /// The address.
        ip: IpAddr,
        /// The other pod.
        with: String,
    },
    /// It has so many annotations of ours that they can't all be told of.
    TooManyAnnotations(usize),
    /// It will not run any more; the phase as Kubernetes names it.
    Ended(String),
    /// The policy does not want rules there.
    Policy(super::policy::Refusal),
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
    /// Whichever namespace of the node has the pod's addresses.
    Pod {
        /// The pod's identity: another pod may get its name and its addresses.
        uid: Arc<str>,
        /// All of its addresses.
        ips: Vec<IpAddr>,
    },
}

/// One annotation and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotatedRules {
    /// The key.
    pub key: AnnotationKey,
    /// The value as it was written, without quotes.
    pub value: String,
    /// When it was written, if that is known: a `ttl` counts from there, whoever was there to see it.
    pub written: Option<SystemTime>,
    /// The rules, all of which can be carried out; or why the annotation has no effect.
    pub rules: Result<Vec<Rule>, AnnotationError>,
}

/// An annotation that has no effect.
///
/// `exact` says whether the place is that of the mistake. If the value has several lines or escapes, only its
/// beginning is known in the file, and the message has the line and column inside of the value as well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{problem}", place(.origin, .key), inside(*.position, .origin))]
pub struct AnnotationError {
    /// Where the annotation stands.
    pub origin: Origin,
    /// The annotation.
    pub key: AnnotationKey,
    /// The place in the annotation's value.
    pub position: Option<Position>,
    /// What is wrong.
    pub problem: Problem,
    /// The line of the value with `^^^` under the place, for terminals.
    pub caret: Option<String>,
}

/// Where an annotation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a file, or in a flag.
    File {
        /// Which.
        file: Arc<str>,
        /// The place in it.
        location: Location,
        /// Is `location` the place of the mistake?
        exact: bool,
    },
    /// On a pod; whoever reads the error looks at that pod.
    Pod,
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
            origin: Origin::File {
                file: Arc::clone(self.file),
                location,
                // Without a position it is the key that is wrong, which the message names.
                exact: self.column.is_some() || position.is_none(),
            },
            key: key.clone(),
            position,
            problem,
            caret: span.map(|span| interceptor_rule::caret(value, span)),
        }
    }
}

fn inside(position: Option<Position>, origin: &Origin) -> String {
    match (position, origin) {
        (Some(Position { line, column }), Origin::File { exact: false, .. }) => {
            format!("in the value that begins here, line {line}, column {column}: ")
        }
        (Some(Position { line: 1, column }), Origin::Pod) => format!("column {column}: "),
        (Some(Position { line, column }), Origin::Pod) => format!("line {line}, column {column}: "),
        _ => String::new(),
    }
}

/// A pod's annotation is named by whatever tells of it.
fn place(origin: &Origin, key: &AnnotationKey) -> String {
    match origin {
        Origin::File { file, location, .. } => format!("{file}:{location}: {key}: "),
        Origin::Pod => String::new(),
    }
}

// === from pods ===

impl AnnotatedRules {
    /// What the annotation `key` of a pod says.
    pub fn of_pod(
        key: AnnotationKey,
        value: &str,
        written: Option<SystemTime>,
        declared: &[NonZeroU16],
    ) -> Self {
        // A pod may say far more than is ever looked at, and all of it would be kept.
        let value = &value[..value.floor_char_boundary(MAX_RULE_TEXT + char::MAX_LEN_UTF8)];
        let rules = annotation::parse(&key, value, declared).map_err(|problem| {
            let span = problem.span();
            AnnotationError {
                origin: Origin::Pod,
                key: key.clone(),
                position: span.map(|span| Position::of(value, span.start)),
                problem,
                caret: span.map(|span| interceptor_rule::caret(value, span)),
            }
        });
        Self { key, value: value.to_owned(), written, rules }
    }
}

// === from flags ===

impl WorkloadSpec {
    /// The identity of the pod, if it is one.
    pub fn uid(&self) -> Option<&Arc<str>> {
        match &self.netns {
            NetnsSource::Pod { uid, .. } => Some(uid),
            NetnsSource::Path(_) | NetnsSource::Pid(_) => None,
        }
    }

    /// When the annotation `key` was written, if that is known.
    pub fn written(&self, key: &AnnotationKey) -> Option<SystemTime> {
        self.rules.iter().find(|rules| rules.key == *key).and_then(|rules| rules.written)
    }

    /// The workload that `--netns` and the `--redirect` of it describe. It has the name of the path's last
    /// part, and all rule texts together are its one `debug.redirect`.
    pub fn from_flag(netns: &Path, rules: &[impl AsRef<str>]) -> Result<Self, FlagError> {
        if !netns.is_absolute() {
            return Err(FlagError::Relative(netns.into()));
        }
        let last = netns.file_name().unwrap_or_default().to_string_lossy();
        let name = WorkloadName::new(&last)
            .map_err(|problem| FlagError::Name { path: netns.into(), problem })?;
        let flag: Arc<str> = "--redirect".into();
        let location = Location { line: 1, column: 1 };
        let key = AnnotationKey::redirect();
        let texts: Vec<&str> = rules.iter().map(AsRef::as_ref).collect();
        let value = texts
            .iter()
            .map(|text| text.trim().trim_end_matches(';'))
            .collect::<Vec<_>>()
            .join("; ");
        // A wrong text is shown for itself: its author knows the columns of that, not of all together.
        let wrong = texts.iter().copied().find(|text| annotation::parse(&key, text, &[]).is_err());
        let text = wrong.unwrap_or(&value);
        let column = (!text.contains('\n')).then_some(1);
        let source = AnnotationSource { file: &flag, location, column };
        let read =
            annotation::parse(&key, text, &[]).map_err(|problem| source.error(&key, text, problem));
        let annotation = AnnotatedRules { key, value, written: None, rules: read };
        let rules = if texts.is_empty() { Vec::new() } else { vec![annotation] };
        Ok(Self {
            name,
            netns: NetnsSource::Path(netns.into()),
            ports: Vec::new(),
            rules,
            health_checks: Vec::new(),
            obstacle: None,
            terminating: false,
        })
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
            return Err(format!(
                "found {} characters, expected at most {MAX_NAME}",
                name.chars().count()
            ));
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

    /// The name of a pod, which is unique in its namespace only.
    pub fn of_pod(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}").into())
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
            Self::Pod { ips, .. } => {
                f.write_str("pod")?;
                ips.iter().try_for_each(|ip| write!(f, " {ip}"))
            }
        }
    }
}
