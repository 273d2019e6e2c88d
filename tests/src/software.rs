//! Programs of other projects: whether they are installed, how to run them, and a pod whose port
//! leads to them.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use nix::unistd::User;
use testbed::{Daemon, Namespace, Topology, netns_test};

use crate::Hosts;

/// The user of servers that refuse to run as root. It comes with Debian's PostgreSQL and has a
/// shell and a home.
const UNPRIVILEGED_USER: &str = "postgres";

/// Maximum run time of a [`tool`], in seconds.
const TOOL_TIMEOUT: &str = "30";

/// As [`netns_test`], for a test that needs these programs. If one is missing, it prints so and
/// returns.
///
/// # Panics
/// In CI, if a program is missing.
pub fn software_test(title: &str, programs: &[&str], body: impl FnOnce(&Topology) -> Result<()>) {
    let missing =
        programs.iter().copied().filter(|program| find(program).is_none()).collect::<Vec<_>>();
    if missing.is_empty() {
        return netns_test(title, body);
    }
    let why =
        format!("not installed: {}; `cargo xtask setup test` installs them", missing.join(", "));
    assert!(
        !env::var("CI").is_ok_and(|value| value == "true"),
        "cannot test with real software: {why}"
    );
    // The test harness would hide the output of `eprintln` when the test passes.
    let _ = writeln!(io::stderr(), "\nSKIPPED {title}: {why}\n");
}

/// As [`software_test`], for programs that `cargo xtask setup` does not install: without them the
/// test is skipped in CI, too.
pub fn software_test_if_there(
    title: &str,
    programs: &[&str],
    body: impl FnOnce(&Topology) -> Result<()>,
) {
    match programs.iter().find(|program| find(program).is_none()) {
        None => netns_test(title, body),
        Some(program) => {
            let _ = writeln!(io::stderr(), "\nSKIPPED {title}: {program} is not installed\n");
        }
    }
}

/// A pod without an app. A rule redirects one of its ports to the same port of the laptop.
#[derive(Debug)]
pub struct Fixture {
    /// The daemon; its rule is active.
    pub daemon: Daemon,
    /// The pod whose port is redirected.
    pub pod: Namespace,
    /// The host of the target.
    pub laptop: Namespace,
    /// The host of the clients.
    pub client: Namespace,
}

impl Fixture {
    /// Creates the hosts and starts the daemon with a rule for `port`.
    pub fn new(t: &Topology, port: u16) -> Result<Self> {
        let Hosts { pod, laptop, client, .. } = Hosts::new(t)?;
        let daemon = Daemon::start_active(t, &pod, &format!("{port} -> {}:{port}", laptop.ip4()))?;
        Ok(Self { daemon, pod, laptop, client })
    }

    /// The pod's IPv4 address, which clients connect to.
    pub fn host(&self) -> String {
        self.pod.ip4().to_string()
    }

    /// The number of redirected connections, and the number of all others.
    pub fn connections(&self) -> Result<(f64, f64)> {
        let metrics = self.daemon.metrics()?;
        let all = metrics.sum("interceptor_connections_total", &[]);
        let redirected = metrics.sum("interceptor_connections_total", &[("outcome", "redirected")]);
        Ok((redirected, all - redirected))
    }
}

/// A program that runs until it is ended.
pub fn server(netns: &Namespace, program: &str) -> Command {
    netns.command(find(program).unwrap_or_else(|| program.into()))
}

/// A program that ends by itself, or is ended after 30 s.
pub fn tool(netns: &Namespace, program: &str) -> Command {
    let mut command = netns.command("timeout");
    command.arg(TOOL_TIMEOUT).arg(find(program).unwrap_or_else(|| program.into()));
    command
}

/// A program, run as an ordinary user.
pub fn unprivileged(netns: &Namespace, program: &str) -> Command {
    let mut command = netns.command("setpriv");
    command.args([
        "--reuid",
        UNPRIVILEGED_USER,
        "--regid",
        UNPRIVILEGED_USER,
        "--clear-groups",
        "--reset-env",
    ]);
    command.arg(find(program).unwrap_or_else(|| program.into()));
    command
}

/// Creates a folder that belongs to the ordinary user.
pub fn folder(t: &Topology, name: &str) -> Result<PathBuf> {
    let user = User::from_name(UNPRIVILEGED_USER)?
        .with_context(|| format!("no user {UNPRIVILEGED_USER}"))?;
    let dir = t.dir().join(name);
    fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
    chown(&dir, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    Ok(dir)
}

/// The name of the ordinary user.
pub fn unprivileged_user() -> &'static str {
    UNPRIVILEGED_USER
}

/// Runs a program to its end and returns its standard output.
///
/// # Errors
/// If the program fails; the error has its output.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("run {:?}", command.get_program()))?;
    ensure!(
        status.success(),
        "{command:?}: {status}\n{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    Ok(stdout)
}

/// As [`output`], as text.
pub fn text(command: &mut Command) -> Result<String> {
    String::from_utf8(output(command)?).context("the output is not UTF-8")
}

/// The path of a program. Debian keeps the programs of PostgreSQL's server out of `PATH`.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let postgresql = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions = postgresql.map(|entry| entry.path().join("bin")).collect::<Vec<_>>();
    versions.sort();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    versions
        .into_iter()
        .rev()
        .chain(folders)
        .map(|folder| folder.join(program))
        .find(|file| is_file(file))
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}
