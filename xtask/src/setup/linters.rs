//! The programs that `cargo xtask lint` runs besides cargo's own. Python packages contain them,
//! ready to run. One exception is built from its Go module, in some seconds.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::apt::{self, Need};
use crate::{cache, go, run};

/// A program that checks files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linter {
    /// Spelling.
    Typos,
    /// Markdown.
    Rumdl,
    /// The syntax of workflows.
    Actionlint,
    /// The security of workflows: pinned actions, permissions, injection.
    Zizmor,
}

// === impl Linter ===

impl Linter {
    pub(crate) const ALL: [Self; 4] = [Self::Typos, Self::Rumdl, Self::Actionlint, Self::Zizmor];

    /// Its name, which is also that of its package, and its version.
    fn package(self) -> (&'static str, &'static str) {
        match self {
            Self::Typos => ("typos", "1.52.0"),
            Self::Rumdl => ("rumdl", "0.3.0"),
            Self::Actionlint => ("actionlint", "1.7.12"),
            Self::Zizmor => ("zizmor", "1.32.0"),
        }
    }

    fn home(self) -> Result<PathBuf> {
        let (name, version) = self.package();
        Ok(cache::folder()?.join(format!("{name}-{version}")))
    }

    /// The command that runs it in the workspace. Installs it first if it is missing.
    ///
    /// # Errors
    ///
    /// The package registry can't be reached, or Go is missing.
    pub(crate) fn command(self) -> Result<Command> {
        self.install()?;
        let mut command = Command::new(self.home()?.join("bin").join(self.package().0));
        command.current_dir(run::workspace());
        Ok(command)
    }

    fn install(self) -> Result<()> {
        let home = self.home()?;
        if home.exists() {
            return Ok(());
        }
        let (name, version) = self.package();
        eprintln!("== installing {name} {version}: `cargo xtask lint` runs it; some seconds");
        let mut install = match self {
            Self::Actionlint => go_install(version)?,
            Self::Typos | Self::Rumdl | Self::Zizmor => pip_install(name, version)?,
        };
        cache::keep(&home, |folder| match self {
            Self::Actionlint => run::run_silent(install.env("GOBIN", folder.join("bin"))),
            Self::Typos | Self::Rumdl | Self::Zizmor => {
                run::run_silent(install.arg("--target").arg(folder))
            }
        })
        .with_context(|| format!("install {name}, which needs the network"))
    }
}

/// Installs all missing linters.
///
/// # Errors
///
/// The package registry can't be reached, or Go is missing.
pub(crate) fn install() -> Result<()> {
    Linter::ALL.into_iter().try_for_each(Linter::install)
}

fn go_install(version: &str) -> Result<Command> {
    let mut go = Command::new(go::compiler("actionlint")?);
    go.args(["install", &format!("github.com/rhysd/actionlint/cmd/actionlint@v{version}")]);
    Ok(go)
}

/// Only built programs: a source package could run anything while it is installed.
fn pip_install(name: &str, version: &str) -> Result<Command> {
    apt::install(&[Need {
        program: "pip3",
        package: "python3-pip",
        why: "installs checkers of text and workflows",
    }])?;
    let mut pip = Command::new(run::find("pip3").context("find pip3")?);
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]);
    pip.args(["--no-deps", "--only-binary=:all:", &format!("{name}=={version}")]);
    Ok(pip)
}
