//! A server on its port of a host, and what it recorded.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use parking_lot::Mutex;
use serde_json::Value;
use testbed::{Namespace, Process, nginx_command};

use crate::{
    oddity::Oddity,
    peer::{Runs, Runtime, Server},
    recorder::Recorder,
    runtimes::{Part, Runtimes},
};

/// Maximum time until a server listens.
const START: Duration = Duration::from_secs(30);

/// A server that runs.
#[derive(Debug)]
pub enum Running {
    /// The recorder.
    Recorder(Recorder),
    /// A program that writes a line for each request.
    Program {
        /// The program.
        process: Process,
        /// What it has recorded.
        record: Record,
    },
}

/// The file of a server's records.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    /// Where the current cell begins.
    begin: Mutex<u64>,
}

// === impl Running ===

impl Running {
    /// Starts a server. [`wait`](Self::wait) waits for it.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(
        netns: &Namespace,
        runtimes: &Runtimes,
        server: &Server,
        port: u16,
    ) -> Result<Self> {
        let name = format!("{}-{}-{port}", netns.label(), server.name);
        let path = netns.dir().join(format!("{name}.record"));
        File::create(&path).with_context(|| format!("create {}", path.display()))?;
        let mut command = match server.runs {
            Runs::Recorder => return Ok(Self::Recorder(Recorder::start(netns, port)?)),
            Runs::Program(runtime, kind) => {
                let mut command = runtimes.command(netns, runtime, Part::Server);
                command.arg(kind).arg(port.to_string()).arg(&path);
                command
            }
            Runs::Nginx(words) => {
                let dir = netns.dir().join(&name);
                fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
                let http = NGINX
                    .replace("LISTEN", &format!("{port}{words}"))
                    .replace("RECORD", &path.to_string_lossy());
                nginx_command(netns, &dir, &http)?
            }
            Runs::Apache => apache(netns, runtimes, &name, port, &path)?,
        };
        let process = netns.spawn(&mut command)?;
        Ok(Self::Program { process, record: Record { path, begin: Mutex::default() } })
    }

    /// Waits until it listens.
    ///
    /// # Errors
    /// It has ended, or takes too long.
    pub fn wait(&mut self, port: u16) -> Result<()> {
        match self {
            Self::Recorder(_) => Ok(()),
            Self::Program { process, .. } => process.wait_for_port(port, START),
        }
    }

    /// Makes ready for the next cell.
    ///
    /// # Errors
    /// The recorder can't listen.
    pub fn prepare(&self, oddity: &Oddity, is_up: bool) -> Result<()> {
        match self {
            Self::Recorder(recorder) => recorder.prepare(&oddity.app, is_up),
            Self::Program { record, .. } => {
                *record.begin.lock() = fs::metadata(&record.path)?.len();
                Ok(())
            }
        }
    }

    /// Stops or continues the program. The recorder never stands still.
    ///
    /// # Errors
    /// It has ended.
    pub fn stand_still(&self, yes: bool) -> Result<()> {
        match self {
            Self::Recorder(_) => Ok(()),
            Self::Program { process, .. } => {
                process.signal(if yes { Signal::SIGSTOP } else { Signal::SIGCONT })
            }
        }
    }

    /// What it has recorded since the last call of [`prepare`](Self::prepare).
    pub fn records(&self) -> Vec<Value> {
        match self {
            Self::Recorder(recorder) => recorder.records(),
            Self::Program { record, .. } => record.read(),
        }
    }
}

// === impl Record ===

impl Record {
    fn read(&self) -> Vec<Value> {
        let mut text = Vec::new();
        let read = || -> Result<()> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(*self.begin.lock()))?;
            file.read_to_end(&mut text)?;
            Ok(())
        };
        if let Err(error) = { read }() {
            return vec![Value::String(format!("no record: {error:#}"))];
        }
        let text = String::from_utf8_lossy(&text);
        // The last line may not be complete yet.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let parse = |line| serde_json::from_str(line).unwrap_or(Value::String(String::from(line)));
        complete.lines().map(parse).collect()
    }
}

/// httpd, which answers each request with the same file.
fn apache(
    netns: &Namespace,
    runtimes: &Runtimes,
    name: &str,
    port: u16,
    record: &Path,
) -> Result<Command> {
    let dir = netns.dir().join(name);
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    // Its workers are another user's, and its response has the time of the file.
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
    let file = File::create(dir.join("file"))?;
    (&file).write_all(b"ok\n")?;
    file.set_modified(SystemTime::UNIX_EPOCH)?;
    let config = APACHE
        .replace("DIR", &dir.to_string_lossy())
        .replace("PORT", &port.to_string())
        .replace("RECORD", &record.to_string_lossy());
    fs::write(dir.join("httpd.conf"), config)?;
    let mut command = runtimes.command(netns, Runtime::Program("apache2"), Part::Server);
    command.args(["-D", "FOREGROUND", "-f"]).arg(dir.join("httpd.conf"));
    Ok(command)
}

/// httpd's configuration.
const APACHE: &str = r#"
ServerRoot "DIR"
DefaultRuntimeDir "DIR"
PidFile "DIR/pid"
ErrorLog "DIR/error.log"
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so
User www-data
Group www-data
ServerName web
Listen 0.0.0.0:PORT
Protocols h2c http/1.1
FileETag None
AliasMatch "^.*$" "DIR/file"
<Directory "DIR">
Require all granted
</Directory>
LogFormat "{\"protocol\":\"%H\",\"request\":\"%r\",\"authority\":\"%{Host}i\",\"user\":\"%{X-User}i\",\"odd\":\"%{X-Odd}i\",\"type\":\"%{Content-Type}i\",\"length\":\"%{Content-Length}i\",\"status\":\"%>s\"}" seen
CustomLog "RECORD" seen
"#;

/// nginx's http block. Its variables can't show all fields, so it shows those that oddities use.
const NGINX: &str = r#"
    log_format seen escape=json
        '{"protocol":"$server_protocol","request":"$request","authority":"$http_host",'
        '"user":"$http_x_user","odd":"$http_x_odd","type":"$http_content_type",'
        '"length":"$content_length","status":"$status","end":"$request_completion",'
        '"body":"$request_body"}';
    server {
        listen LISTEN;
        access_log RECORD seen;
        client_max_body_size 0;
        client_body_buffer_size 4m;
        location / { return 200 "$request_method $content_length\n"; }
        location /early { return 413; }
    }
"#;
