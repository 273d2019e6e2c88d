//! Programs of others: whether they are installed, how to run them, and how to let a pod's port lead to them.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use nix::unistd::User;
use testbed::{Daemon, Namespace, Topology, netns_test, workload};

/// Who runs the servers that refuse to be run by root. It comes with Debian's PostgreSQL, and has a shell and a home.
const UNPRIVILEGED_USER: &str = "postgres";

/// Longer than any of these programs takes; after that it is ended, in seconds.
const TIMEOUT: &str = "30";

/// As `netns_test`, for a test that needs these programs. Where one is missing it says so and returns, except in CI,
/// where it fails.
///
/// # Panics
/// In CI, when a program is missing.
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
        "can't test with real software: {why}"
    );
    // Not `eprintln`, which the test harness hides when a test passes.
    let _ = writeln!(io::stderr(), "\nSKIPPED {title}: {why}\n");
}

/// As [`software_test`], for programs that `cargo xtask setup` does not install: without them it is skipped in CI, too.
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

/// A pod in which nobody listens, and whose ports lead to the same ports of a laptop.
#[derive(Debug)]
pub struct Fixture {
    /// The daemon, with its rule in force.
    pub daemon: Daemon,
    /// The pod whose port is redirected.
    pub pod: Namespace,
    /// The target.
    pub laptop: Namespace,
    /// Where clients run.
    pub client: Namespace,
}

impl Fixture {
    /// Makes the hosts and starts the daemon with a rule for `port`.
    pub fn new(t: &Topology, port: u16) -> Result<Self> {
        let (pod, laptop, client) = (t.pod("web")?, t.host("laptop")?, t.host("client")?);
        let rule = format!("{port} -> {}:{port}", laptop.ip4());
        let daemon = Daemon::start(t, &workload(&pod, &rule), &[])?;
        daemon.wait_active("web")?;
        Ok(Self { daemon, pod, laptop, client })
    }

    /// The address that is called; nobody but us is there.
    pub fn host(&self) -> String {
        self.pod.ip4().to_string()
    }

    /// How many connections the laptop got, and how many anybody else.
    pub fn connections(&self) -> Result<(f64, f64)> {
        let metrics = self.daemon.metrics()?;
        let all = metrics.sum("interceptor_connections_total", &[]);
        let redirected = metrics.sum("interceptor_connections_total", &[("outcome", "redirected")]);
        Ok((redirected, all - redirected))
    }
}

/// A program that runs until it is told to end.
pub fn server(netns: &Namespace, program: &str) -> Command {
    netns.command(find(program).unwrap_or_else(|| program.into()))
}

/// A program that ends by itself, or else is ended.
pub fn tool(netns: &Namespace, program: &str) -> Command {
    let mut command = netns.command("timeout");
    command.arg(TIMEOUT).arg(find(program).unwrap_or_else(|| program.into()));
    command
}

/// Either of them, as an ordinary user.
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

/// A folder for such a user.
pub fn folder(t: &Topology, name: &str) -> Result<PathBuf> {
    let user = User::from_name(UNPRIVILEGED_USER)?
        .with_context(|| format!("no user {UNPRIVILEGED_USER}"))?;
    let dir = t.dir().join(name);
    fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
    chown(&dir, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    Ok(dir)
}

/// The name of that user.
pub fn unprivileged_user() -> &'static str {
    UNPRIVILEGED_USER
}

/// What a program printed; it should succeed.
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

/// As [`output`], for text.
pub fn text(command: &mut Command) -> Result<String> {
    String::from_utf8(output(command)?).context("not text")
}

/// Where a program is. Debian keeps those of PostgreSQL's server out of the search path.
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
