//! The documentation as a site: the pages by mkdocs, and what rustdoc makes beside them.
//!
//! Pages lie where their readers expect them on a code host: some at the root, some in `docs`, some
//! beside the code. mkdocs wants one folder. So this command copies the pages into one, with the
//! tree's own structure and every file that they link to. Links stay as they are.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    build, run,
    setup::{self, Group},
};

/// Where gathering begins. All other pages are linked from here.
const FIRST: &str = "README.md";
const CONFIG: &str = "docs/mkdocs.yml";
/// In a link that only the code host can follow: out of the repository, to its workflows.
const HOST_ONLY: &str = "../../actions";

#[derive(Args)]
pub(crate) struct Options {
    /// Only the pages, without rustdoc
    #[arg(long)]
    pages: bool,
}

pub(crate) fn docs(options: &Options) -> Result<()> {
    setup::setup(&[Group::Docs])?;
    let target = build::target()?;
    let (pages, site) = (target.join("pages"), target.join("site"));
    gather(run::workspace(), &pages)?;

    let mut mkdocs = Command::new(run::find("mkdocs").context("find mkdocs")?);
    mkdocs.args(["build", "--strict", "--quiet", "--config-file", CONFIG, "--site-dir"]).arg(&site);
    run::run(mkdocs.env("INTERCEPTOR_PAGES", &pages).current_dir(run::workspace()))?;

    if !options.pages {
        let mut rustdoc = build::cargo()?;
        rustdoc.args(["doc", "--no-deps", "--document-private-items"]);
        run::run(rustdoc.env("RUSTDOCFLAGS", "-D warnings"))?;
        copy_all(&target.join("doc"), &site.join("rustdoc"))?;
    }
    eprintln!("wrote {}", site.join("index.html").display());
    Ok(())
}

/// Copies the first page, and all files that pages link to, directly or by way of others.
fn gather(root: &Path, pages: &Path) -> Result<()> {
    if pages.exists() {
        fs::remove_dir_all(pages).with_context(|| format!("remove {}", pages.display()))?;
    }
    let mut seen = BTreeSet::new();
    let mut open = vec![PathBuf::from(FIRST)];
    while let Some(file) = open.pop() {
        if !seen.insert(file.clone()) {
            continue;
        }
        let (from, to) = (root.join(&file), pages.join(&file));
        ensure!(from.is_file(), "a page links to {}, which is no file", file.display());
        let folder = to.parent().context("a file without a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        if file.extension().is_none_or(|extension| extension != "md") {
            fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
            continue;
        }
        let text = fs::read_to_string(&from).with_context(|| format!("read {}", from.display()))?;
        open.extend(links(&file, &text));
        let lines = text.lines().filter(|line| !line.contains(HOST_ONLY));
        let text = lines.collect::<Vec<_>>().join("\n") + "\n";
        fs::write(&to, text).with_context(|| format!("write {}", to.display()))?;
    }
    Ok(())
}

/// The files that a page links to, by their paths in the repository.
fn links(page: &Path, text: &str) -> Vec<PathBuf> {
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    let files = targets.filter(|link| !link.contains("://") && !link.starts_with("mailto:"));
    let files = files.map(|link| link.split_once('#').map_or(link, |(file, _)| file));
    let folder = page.parent().unwrap_or(Path::new(""));
    files.filter(|file| !file.is_empty()).map(|file| normal(&folder.join(file))).collect()
}

/// The path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut normal, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir => _ = normal.pop(),
            other => normal.push(other),
        }
        normal
    })
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in from.read_dir().with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_paths_in_the_repository() {
        let text = "[a](b.md#c), ![d](e/f.svg), [g](#h), [i](https://j/k), [l](../m/n.rs)";
        let found = links(Path::new("docs/page.md"), text);
        assert_eq!(found, ["docs/b.md", "docs/e/f.svg", "m/n.rs"].map(PathBuf::from));
    }
}
