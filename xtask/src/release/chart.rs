//! The chart as `helm package` makes it, but the same bytes for the same tree.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{archive, run};

const CHART: &str = "deploy/charts/interceptor";

/// Helm wants this file first.
const MANIFEST: &str = "Chart.yaml";

/// The packed archive.
///
/// # Errors
///
/// A file of the chart can't be read.
pub(crate) fn archive() -> Result<Vec<u8>> {
    let root = run::workspace().join(CHART);
    let ignored = fs::read_to_string(root.join(".helmignore")).context("read .helmignore")?;
    let mut files = BTreeMap::new();
    read(&root, &root, &ignored, &mut files)?;
    let manifest = files.remove(MANIFEST).context("the chart has no Chart.yaml")?;
    let files = std::iter::once((MANIFEST.to_owned(), manifest)).chain(files);
    let files = files.map(|(path, bytes)| (format!("interceptor/{path}"), bytes));
    let files = files.collect::<Vec<_>>();
    let entries =
        files.iter().map(|(path, bytes)| archive::Entry::File { path, mode: 0o644, bytes });
    archive::gzip(&archive::tar(entries)?)
}

/// All files below a folder, except for those that the lines of `.helmignore` name.
fn read(
    root: &Path,
    folder: &Path,
    ignored: &str,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
        if is_ignored(&name, ignored) {
            continue;
        }
        if path.is_dir() {
            read(root, &path, ignored, files)?;
        } else {
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            files.insert(name, bytes);
        }
    }
    Ok(())
}

/// The forms that our `.helmignore` has: a folder with its slash, a file, a suffix behind `*`.
fn is_ignored(name: &str, ignored: &str) -> bool {
    let mut patterns = ignored.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    name == ".helmignore"
        || patterns.any(|pattern| match pattern.strip_prefix('*') {
            Some(suffix) => name.ends_with(suffix),
            None => !pattern.is_empty() && name == pattern.trim_end_matches('/'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_the_same_each_time_and_begins_with_the_manifest() -> Result<()> {
        let packed = archive()?;
        assert_eq!(packed, archive()?);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&packed[..]));
        let mut names = Vec::new();
        for entry in archive.entries()? {
            names.push(entry?.path()?.display().to_string());
        }
        assert_eq!(names[0], "interceptor/Chart.yaml");
        for name in ["values.yaml", "values.schema.json", "README.md"] {
            assert!(names.contains(&format!("interceptor/{name}")), "{names:?}");
        }
        assert!(names.iter().any(|name| name.starts_with("interceptor/templates/")), "{names:?}");
        for name in ["interceptor/ci", "README.md.in", ".helmignore"] {
            assert!(!names.iter().any(|it| it.contains(name)), "{names:?}");
        }
        Ok(())
    }
}
