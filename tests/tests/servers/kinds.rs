//! The servers: how each starts, and what it does not support.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use interceptor_tests::software::{output, server};
use testbed::{Namespace, Process, nginx_command};

/// The port of each server.
pub(crate) const PORT: u16 = 8080;

/// A kind of server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// The programs that must be installed.
    pub(crate) programs: &'static [&'static str],
    /// Whether `cargo xtask setup` installs them.
    pub(crate) is_set_up: bool,
    /// The command that runs the server.
    pub(crate) command: fn(&Site) -> Result<Command>,
    /// How it handles request bodies.
    pub(crate) upload: Upload,
    /// Whether it supports pipelined requests.
    pub(crate) pipelines: bool,
}

/// How a server handles request bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upload {
    /// It sends them back.
    Echo,
    /// It stores each as a file, which clients can fetch and delete.
    File,
}

/// The place of a server, with its files.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) netns: Namespace,
    /// The folder of its configuration and state.
    dir: PathBuf,
    /// The files that it serves: `hello`, `text`, `middle`, `large`, and uploads in `up`. It
    /// refuses uploads to `small` as too large.
    root: PathBuf,
}

pub(crate) const NGINX: Kind = Kind {
    programs: &["nginx"],
    is_set_up: true,
    command: nginx,
    upload: Upload::File,
    pipelines: true,
};

pub(crate) const APACHE: Kind = Kind {
    programs: &["apache2"],
    is_set_up: true,
    command: apache,
    upload: Upload::File,
    pipelines: true,
};

pub(crate) const PYTHON: Kind = Kind {
    programs: &["python3"],
    is_set_up: true,
    command: python,
    upload: Upload::Echo,
    pipelines: true,
};

/// It does not look at bytes that arrived with the previous request until more bytes arrive.
pub(crate) const GUNICORN: Kind = Kind {
    programs: &["gunicorn"],
    is_set_up: true,
    command: gunicorn,
    upload: Upload::Echo,
    pipelines: false,
};

pub(crate) const NODE: Kind = Kind {
    programs: &["node"],
    is_set_up: false,
    command: node,
    upload: Upload::Echo,
    pipelines: true,
};

pub(crate) const GO: Kind = Kind {
    programs: &["go"],
    is_set_up: false,
    command: go,
    upload: Upload::Echo,
    pipelines: true,
};

pub(crate) const JAVA: Kind = Kind {
    programs: &["java"],
    is_set_up: false,
    command: java,
    upload: Upload::Echo,
    pipelines: true,
};

// === impl Kind ===

impl Kind {
    pub(crate) fn start(self, site: &Site) -> Result<Process> {
        site.netns.spawn((self.command)(site)?.env("ROOT", &site.root))
    }
}

// === impl Site ===

impl Site {
    /// Creates the files. Their contents differ from host to host.
    pub(crate) fn new(netns: &Namespace, large: &[u8]) -> Result<Self> {
        let dir = netns.dir().join(format!("server-{}", netns.label()));
        let root = dir.join("root");
        fs::create_dir_all(root.join("up")).context("create folders")?;
        for dir in [&dir, &root.join("up")] {
            // Some servers write as another user than root.
            fs::set_permissions(dir, fs::Permissions::from_mode(0o777))?;
        }
        let host = netns.label();
        for (name, content) in [
            ("hello", format!("This is {host}, and no other server.\n").as_bytes()),
            ("text", format!("{host} repeats itself. ").repeat(2_000).as_bytes()),
            ("middle", &large[large.len() / 2..][..1 << 20]),
            ("large", large),
        ] {
            fs::write(root.join(name), content)?;
            // Apache responds differently while a file is younger than a second.
            let long_ago = SystemTime::now() - Duration::from_secs(3600);
            File::options().write(true).open(root.join(name))?.set_modified(long_ago)?;
        }
        Ok(Self { netns: netns.clone(), dir, root })
    }

    /// Writes a configuration, with `DIR`, `ROOT` and `PORT` replaced, and returns its path.
    fn config(&self, text: &str) -> Result<PathBuf> {
        let file = self.dir.join("config");
        let text = text
            .replace("DIR", &self.dir.display().to_string())
            .replace("ROOT", &self.root.display().to_string())
            .replace("PORT", &PORT.to_string());
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        Ok(file)
    }

    fn program(&self, program: &str, args: &[&str]) -> Command {
        let mut command = server(&self.netns, program);
        command.args(args);
        command
    }
}

/// The path of a source file in this folder.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name)
}

fn nginx(site: &Site) -> Result<Command> {
    let http = format!(
        "server {{
        listen {PORT};
        listen [::]:{PORT};
        root {};
        location = /text {{ gzip on; gzip_types *; }}
        location /up/ {{ dav_methods PUT DELETE; client_max_body_size 0; }}
        location /small/ {{ dav_methods PUT; client_max_body_size 1k; }}
    }}",
        site.root.display(),
    );
    nginx_command(&site.netns, &site.dir, &http)
}

fn apache(site: &Site) -> Result<Command> {
    let config = site.config(
        r#"ServerRoot "DIR"
DefaultRuntimeDir "DIR"
PidFile "DIR/pid"
ErrorLog "DIR/error.log"
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule filter_module /usr/lib/apache2/modules/mod_filter.so
LoadModule deflate_module /usr/lib/apache2/modules/mod_deflate.so
LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so
LoadModule dav_module /usr/lib/apache2/modules/mod_dav.so
LoadModule dav_fs_module /usr/lib/apache2/modules/mod_dav_fs.so
User www-data
Group www-data
ServerName web
Listen PORT
DocumentRoot "ROOT"
Protocols h2c http/1.1
KeepAlive On
MaxKeepAliveRequests 0
DavLockDB "DIR/locks"
<Location "/text">
SetOutputFilter DEFLATE
</Location>
<Location "/up">
Dav On
</Location>
<Location "/small">
Require all denied
</Location>
"#,
    )?;
    let mut command = site.program("apache2", &["-D", "FOREGROUND", "-f"]);
    command.arg(config);
    Ok(command)
}

fn python(site: &Site) -> Result<Command> {
    let mut command = site.program("python3", &[]);
    command.arg(source("server.py"));
    Ok(command)
}

fn gunicorn(site: &Site) -> Result<Command> {
    // gunicorn's other worker classes close the connection after each response.
    let worker = ["--worker-class", "gthread", "--threads", "8", "--keep-alive", "60"];
    let mut command = site.program("gunicorn", &worker);
    command.args(["--bind", &format!("[::]:{PORT}")]);
    command.arg("--chdir").arg(source("")).arg("wsgi:app").env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

fn node(site: &Site) -> Result<Command> {
    let mut command = site.program("node", &[]);
    command.arg(source("server.js"));
    Ok(command)
}

fn go(site: &Site) -> Result<Command> {
    let binary = site.dir.join("server");
    output(site.program("go", &["build", "-o"]).arg(&binary).arg(source("server.go")))?;
    Ok(site.netns.command(binary))
}

fn java(site: &Site) -> Result<Command> {
    // Without nodelay, each response takes 40 ms, since the server sends it in two pieces.
    let mut command =
        site.program("java", &["-Dsun.net.httpserver.nodelay=true", "-XX:TieredStopAtLevel=1"]);
    command.arg(source("Server.java"));
    Ok(command)
}

/// Waits for a server, which may have to be compiled first.
pub(crate) fn wait(process: &mut Process) -> Result<()> {
    process.wait_for_port(PORT, Duration::from_secs(60))
}
