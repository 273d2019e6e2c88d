//! An oddity: something unusual that a client does, read from a data file.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::script::{Step, Written};

/// What a client and a server speak.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Bytes from a plain socket.
    Raw,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS and without an upgrade.
    H2,
    /// HTTP/1.1 that offers an upgrade to HTTP/2.
    H2cUpgrade,
    /// gRPC.
    Grpc,
}

/// The server that has to get a call on the way through the daemon.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum User {
    /// No call has the developer's header: the app gets all of them.
    #[default]
    None,
    /// Each call has the developer's header: the target gets all of them.
    Debug,
    /// Calls with `x-user: debug` are the target's, the others are the app's. For real servers.
    Mixed,
}

/// An oddity.
#[derive(Clone, Debug)]
pub struct Oddity {
    /// The name of its file without `.toml`, and the protocol if the file has several.
    pub name: String,
    /// What the client and the server speak.
    pub protocol: Protocol,
    /// The clients that do it; all that speak the protocol if there is no list.
    pub clients: Option<Vec<String>>,
    /// The servers to which they do it.
    pub servers: Option<Vec<String>>,
    /// The server that gets the calls.
    pub user: User,
    /// Whether the app does not listen, as it is only the target that should be needed.
    pub app_is_down: bool,
    /// How long the app stands still from before the call on.
    pub app_stands_still: Duration,
    /// Whether requests reach the server in any order.
    pub any_order: bool,
    /// The steps of a raw client.
    pub client: Vec<Step>,
    /// The steps of the recorder, for each connection. Without steps it answers each head of
    /// HTTP/1.
    pub app: Vec<Step>,
    /// What a real client does.
    pub job: Job,
}

/// What a real client does on one connection, if it can.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The calls, one after the other.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// Whether all calls begin at once.
    #[serde(default)]
    pub parallel: bool,
    /// The target of a gRPC channel. `{host}` and `{port}` stand for the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The authority of a gRPC channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Further arguments for curl, h2load and nghttp.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
}

/// One call.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The method of HTTP.
    #[serde(default = "get")]
    pub method: String,
    /// The path with its query, as it has to be sent; the full method of a gRPC call.
    pub path: String,
    /// The fields of the head, in order; the metadata of a gRPC call.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The content: of the body, or of each gRPC message.
    #[serde(default)]
    pub body: String,
    /// How often the content is repeated.
    #[serde(default = "one")]
    pub times: usize,
    /// The number of gRPC messages.
    #[serde(default = "one")]
    pub messages: usize,
    /// Whether the client does not know the body's length before.
    #[serde(default)]
    pub without_length: bool,
}

fn get() -> String {
    "GET".into()
}

fn one() -> usize {
    1
}

/// An oddity's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// What the client does and why the app has to notice nothing of the daemon.
    about: String,
    protocols: Vec<Protocol>,
    clients: Option<Vec<String>>,
    servers: Option<Vec<String>>,
    #[serde(default)]
    user: User,
    #[serde(default)]
    app_is_down: bool,
    #[serde(default)]
    app_stands_still_ms: u64,
    #[serde(default)]
    any_order: bool,
    #[serde(default)]
    client: Vec<Written>,
    #[serde(default)]
    app: Vec<Written>,
    #[serde(default)]
    job: Job,
}

// === impl Protocol ===

impl Protocol {
    /// Its name in an oddity's file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Http1 => "http1",
            Self::H2 => "h2",
            Self::H2cUpgrade => "h2c-upgrade",
            Self::Grpc => "grpc",
        }
    }
}

// === impl Oddity ===

impl Oddity {
    /// Reads all files of a folder, by name.
    ///
    /// # Errors
    /// A file that can't be read or does not make sense. The error names the file and the remedy.
    pub fn all(folder: &Path) -> Result<Vec<Self>> {
        let mut all = BTreeMap::new();
        let entries = folder.read_dir().with_context(|| format!("list {}", folder.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "toml") {
                let these = Self::read(&path).with_context(|| format!("{}", path.display()))?;
                all.extend(these.into_iter().map(|oddity| (oddity.name.clone(), oddity)));
            }
        }
        ensure!(!all.is_empty(), "{} has no oddities", folder.display());
        Ok(all.into_values().collect())
    }

    /// Reads a file: one oddity for each of its protocols.
    fn read(path: &Path) -> Result<Vec<Self>> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let folder = path.parent().unwrap_or(Path::new("."));
        let file: File = toml::from_str(&fs::read_to_string(path)?)?;
        let steps = |written: &[Written]| -> Result<Vec<Step>> {
            written.iter().map(|written| Step::read(written, folder)).collect()
        };
        let (client, app) = (steps(&file.client)?, steps(&file.app)?);
        ensure!(!file.about.trim().is_empty(), "`about` is empty: say what the client does");
        let is_raw = file.protocols == [Protocol::Raw];
        ensure!(is_raw != client.is_empty(), "`client` has the steps of `raw`, and only them");
        ensure!(
            is_raw == file.job.calls.is_empty(),
            "`[[job.calls]]` has the calls of real clients, and `raw` has none",
        );
        ensure!(
            !file.app_is_down || file.user == User::Debug,
            "`app_is_down` needs `user = \"debug\"`: without the app, only a target can answer",
        );
        let of = |protocol: &Protocol| Self {
            name: match file.protocols.len() {
                1 => stem.to_string(),
                _ => format!("{stem}/{}", protocol.name()),
            },
            protocol: *protocol,
            clients: file.clients.clone(),
            servers: file.servers.clone(),
            user: file.user,
            app_is_down: file.app_is_down,
            app_stands_still: Duration::from_millis(file.app_stands_still_ms),
            any_order: file.any_order,
            client: client.clone(),
            app: app.clone(),
            job: file.job.clone(),
        };
        Ok(file.protocols.iter().map(of).collect())
    }

    /// The time that it takes at least.
    pub fn least_time(&self) -> Duration {
        let scripts = [&self.client, &self.app];
        let pauses = scripts.map(|steps| steps.iter().map(Step::pause).sum::<Duration>());
        pauses.into_iter().max().unwrap_or_default().max(self.app_stands_still)
    }
}
