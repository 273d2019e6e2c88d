//! A release: the version in every place, the section of the changelog, and the archives that users
//! download. `docs/release.md` is the checklist around it.

mod artifacts;
mod changelog;
mod chart;
mod places;
mod sbom;

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::semver::Version;
use clap::Args;

use self::places::Edit;
use crate::{build, run};

#[derive(Args)]
pub(crate) struct Options {
    /// The new version, such as 0.2.0
    #[arg(required_unless_present = "artifacts")]
    version: Option<Version>,
    /// Write the files and make the archives; without it, only show what would change
    #[arg(long)]
    execute: bool,
    /// Only make the archives, for the version that the tree has; the release workflow does this
    #[arg(long, conflicts_with_all = ["version", "execute"])]
    artifacts: bool,
}

pub(crate) fn release(options: &Options) -> Result<()> {
    let Some(version) = &options.version else {
        return of_this_tree();
    };
    clean_tree()?;
    let edits = plan(version)?;
    for edit in &edits {
        print!("{}", edit.show());
    }
    let names = artifacts::names(version).join("\n    ");
    if !options.execute {
        println!("archives in target/dist:\n    {names}");
        println!("\nnothing was written; `cargo xtask release {version} --execute` does all of it");
        return Ok(());
    }
    for edit in &edits {
        let path = run::workspace().join(&edit.path);
        fs::write(&path, &edit.after).with_context(|| format!("write {}", edit.path))?;
    }
    artifacts::make(version)?;
    println!("\nnext: `git commit --all --message 'Release {version}'`, and on main:");
    println!("`git tag --annotate v{version} --message 'interceptor {version}'`, then push both");
    Ok(())
}

/// Every change to a file of the repository.
fn plan(version: &Version) -> Result<Vec<Edit>> {
    let read = |path: &str| {
        fs::read_to_string(run::workspace().join(path)).with_context(|| format!("read {path}"))
    };
    let current = current()?;
    let log = read(changelog::FILE)?;
    is_next(version, &current, changelog::latest(&log).as_ref())?;
    let after = changelog::cut(&log, version, &today()?)?;
    let mut edits = places::edits(&current, version, read)?;
    edits.push(Edit { path: changelog::FILE.into(), before: log, after });
    edits.retain(|edit| edit.before != edit.after);
    Ok(edits)
}

/// Whether a version may follow. The first release may have the version that the tree has already.
fn is_next(version: &Version, current: &Version, latest: Option<&Version>) -> Result<()> {
    if let Some(latest) = latest {
        ensure!(
            version > latest,
            "{version} is not higher than {latest}, the latest release in {}; choose a higher one",
            changelog::FILE
        );
    }
    ensure!(
        version >= current,
        "{version} is lower than {current} in Cargo.toml; choose that one or a higher one"
    );
    Ok(())
}

/// The archives of the version that the tree has, and its section of the changelog for readers.
fn of_this_tree() -> Result<()> {
    let (version, path) = (current()?, run::workspace().join(changelog::FILE));
    let log = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let notes = changelog::section(&log, &version)?;
    artifacts::make(&version)?;
    fs::write(build::target()?.join("release-notes.md"), notes).context("write the release notes")
}

/// The version of the workspace, which is also that of xtask.
fn current() -> Result<Version> {
    Version::parse(env!("CARGO_PKG_VERSION")).context("read the version of the workspace")
}

/// Fails if the tree has uncommitted changes: the archives must match a commit.
fn clean_tree() -> Result<()> {
    let status = ["status", "--porcelain"];
    let status = run::output(Command::new("git").args(status).current_dir(run::workspace()))?;
    ensure!(
        status.is_empty(),
        "the tree has changes that are not committed; commit or stash them first:\n{}",
        status.trim_end()
    );
    Ok(())
}

/// The date in UTC, such as 2026-01-31.
fn today() -> Result<String> {
    let date = run::output(Command::new("date").args(["--utc", "+%Y-%m-%d"]))?;
    Ok(date.trim().to_owned())
}

#[cfg(test)]
mod tests;
