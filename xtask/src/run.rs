//! Runs other programs: shows each before, and explains its failure.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::heartbeat::{self, Heartbeat};

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    // xtask runs on the machine that built it.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Shows and runs a command. An exit code other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    eprintln!("$ {shown}");
    // On a terminal, cargo shows its progress itself.
    let status = if io::stderr().is_terminal() {
        command.status().with_context(|| format!("run `{shown}`"))?
    } else {
        heartbeat::status(command, &shortened(&shown))?
    };
    ensure!(status.success(), "`{shown}` failed: {status}");
    Ok(())
}

/// The same for a command that prints nothing while it works, such as `go build`.
pub(crate) fn run_silent(command: &mut Command) -> Result<()> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let heartbeat = Heartbeat::start(&shortened(&shown));
    let status = command.status().with_context(|| format!("run `{shown}`"))?;
    drop(heartbeat);
    ensure!(status.success(), "`{shown}` failed: {status}");
    Ok(())
}

/// Runs a command without showing it, and returns its output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let heartbeat = Heartbeat::start(&shortened(&shown));
    let output = command.output().with_context(|| format!("run `{shown}`"))?;
    drop(heartbeat);
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{shown}` failed: {}: {}", output.status, error.trim());
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{shown}` printed output that is not UTF-8"))
}

/// The beginning of a command, for a line of progress.
pub(crate) fn shortened(shown: &str) -> String {
    const WIDTH: usize = 60;
    match shown.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown.to_owned(),
    }
}

/// The command as typed in a shell, without the folder of its program.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = [program].into_iter().chain(command.get_args()).map(|word| {
        let word = word.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+".contains(c);
        if word.chars().all(plain) { word.into_owned() } else { format!("'{word}'") }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Looks for a program in PATH, and in folders that Debian keeps out of the PATH of users.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let mut folders = env::split_paths(env::var_os("PATH").as_deref().unwrap_or(OsStr::new("")))
        .collect::<Vec<_>>();
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    for version in Path::new("/usr/lib/postgresql").read_dir().into_iter().flatten().flatten() {
        folders.push(version.path().join("bin"));
    }
    folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The words to put before a command that needs root: none for root itself.
pub(crate) fn sudo() -> Result<Vec<OsString>> {
    if is_root() {
        return Ok(Vec::new());
    }
    find("sudo").context("this needs root, and there is no sudo; run it as root")?;
    Ok(vec!["sudo".into()])
}
