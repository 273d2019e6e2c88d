//! The clients and servers of the peer matrix: what is built from Go and Java, and grpcio.
//!
//! `peers/go.mod` and `peers/clients/python/requirements.txt` pin versions and checksums.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::apt::{self, Need};
use crate::{cache, go, run};

/// The sources on which the built programs depend.
const SOURCES: [&str; 11] = [
    "go.mod",
    "go.sum",
    "message/message.go",
    "clients/go/main.go",
    "clients/go/grpc.go",
    "servers/go/main.go",
    "servers/go/grpc.go",
    "clients/java/Client.java",
    "clients/java/Json.java",
    "servers/java/Server.java",
    "clients/python/requirements.txt",
];

/// Fills a folder from the sources.
type Build = fn(source: &Path, folder: &Path) -> Result<()>;

/// Builds what is missing. What can't be built is reported, and its cells are missing.
pub(crate) fn install() {
    let parts: [(&str, Build); 3] =
        [("bin", go_programs), ("java", java_classes), ("python", grpcio)];
    for (part, build) in parts {
        let build = || -> Result<()> {
            let home = home()?;
            if home.join(part).exists() {
                return Ok(());
            }
            fs::create_dir_all(&home).with_context(|| format!("make {}", home.display()))?;
            eprintln!("== building the peer matrix: {part}; some seconds");
            cache::keep(&home.join(part), |folder| build(&source(), folder))
        };
        if let Err(error) = build() {
            eprintln!("peers: {error:#}; cells that need `{part}` are missing");
        }
    }
}

/// The folder of what is built. It has a name of its own for each state of the sources.
///
/// # Errors
///
/// A source can't be read, or the cache has no place.
pub(crate) fn home() -> Result<PathBuf> {
    let sum = go::checksum(&source(), &SOURCES)?;
    Ok(cache::folder()?.join(format!("peers-{sum}")))
}

fn source() -> PathBuf {
    run::workspace().join("peers")
}

fn go_programs(source: &Path, folder: &Path) -> Result<()> {
    let go = go::compiler("the peer matrix")?;
    for (program, package) in [("client", "./clients/go"), ("server", "./servers/go")] {
        let mut go = Command::new(&go);
        go.args(["build", "-mod=readonly", "-o"]).arg(folder.join(program)).arg(package);
        run::run_silent(go.current_dir(source))?;
    }
    Ok(())
}

fn java_classes(source: &Path, folder: &Path) -> Result<()> {
    let files = SOURCES.iter().filter(|file| file.ends_with(".java"));
    let mut javac = Command::new(run::find("javac").context("javac is not installed")?);
    javac.arg("-d").arg(folder).args(files).current_dir(source);
    run::run_silent(&mut javac)
}

/// Only built packages: a source package could run anything while it is installed. They fit one
/// version of Python, so a link to that interpreter is beside them.
fn grpcio(source: &Path, folder: &Path) -> Result<()> {
    let python = run::find("python3").context("python3 is not installed")?;
    let has_pip = Command::new(&python).args(["-m", "pip", "--version"]).output();
    if !has_pip.is_ok_and(|output| output.status.success()) {
        let need = Need { program: "pip3", package: "python3-pip", why: "installs grpcio" };
        apt::install(&[need])?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--root-user-action=ignore", "--no-deps", "--only-binary=:all:"]);
    pip.args(["--require-hashes", "--target"]).arg(folder);
    pip.arg("--requirement").arg("clients/python/requirements.txt");
    run::run_silent(pip.current_dir(source))?;
    let print = "import sys; print(sys.executable)";
    let real = run::output(Command::new(&python).args(["-c", print]))?;
    ensure!(Path::new(real.trim()).is_file(), "{real:?} is no Python");
    symlink(real.trim(), folder.join("python3")).context("link Python")
}
