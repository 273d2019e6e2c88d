//! Every place in the repository that has the version.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use cargo_metadata::semver::Version;

/// A file, and the text around the version there. A text may occur several times.
const PLACES: [(&str, &str, &str); 4] = [
    ("Cargo.toml", "[workspace.package]\nversion = \"", "\"\n"),
    ("deploy/charts/interceptor/Chart.yaml", "\nversion: ", "\n"),
    ("deploy/charts/interceptor/Chart.yaml", "\nappVersion: \"", "\"\n"),
    ("Dockerfile", "LABEL org.opencontainers.image.version=\"", "\"\n"),
];

/// Documents name images and archives by version. Not every document does.
const DOCUMENTS: [&str; 3] =
    ["README.md", "docs/install.md", "deploy/charts/interceptor/README.md"];

/// What stands before the version in documents.
const BEFORE: [&str; 3] = ["/interceptor:", "interceptor-", "--version "];

/// Lock files have the version of each crate of the workspace.
const LOCKS: [&str; 2] = ["Cargo.lock", "fuzz/Cargo.lock"];

/// One file before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Below the root of the repository.
    pub(crate) path: String,
    pub(crate) before: String,
    pub(crate) after: String,
}

// === impl Edit ===

impl Edit {
    /// The lines that differ, as a diff shows them.
    pub(crate) fn show(&self) -> String {
        let (before, after) = (self.before.lines(), self.after.lines().collect::<Vec<_>>());
        let mut text = format!("{}\n", self.path);
        let mut at = 0;
        for (number, line) in (1..).zip(before) {
            if after.get(at) == Some(&line) {
                at += 1;
                continue;
            }
            // Lines are replaced one by one, or added before others.
            if let Some(found) = after[at..].iter().position(|new| *new == line) {
                for new in &after[at..at + found] {
                    let _ = writeln!(text, "    {number}: + {new}");
                }
                at += found + 1;
            } else {
                let _ = writeln!(text, "    {number}: - {line}");
                let _ = writeln!(text, "    {number}: + {}", after.get(at).unwrap_or(&""));
                at += 1;
            }
        }
        text
    }
}

/// The edits that turn one version into another. `read` gives the text of a file.
///
/// # Errors
///
/// A file can't be read, or lacks the version where it should be.
pub(crate) fn edits(
    current: &Version,
    version: &Version,
    read: impl Fn(&str) -> Result<String>,
) -> Result<Vec<Edit>> {
    let mut edits = Vec::<Edit>::new();
    let mut edit = |path: &str, change: &dyn Fn(&str) -> Result<String>| -> Result<()> {
        let known = edits.iter().position(|edit| edit.path == path);
        let at = match known {
            Some(at) => at,
            None => {
                let text = read(path)?;
                edits.push(Edit { path: path.into(), before: text.clone(), after: text });
                edits.len() - 1
            }
        };
        edits[at].after = change(&edits[at].after)?;
        Ok(())
    };
    for (path, before, after) in PLACES {
        edit(path, &|text| {
            let found = format!("{before}{current}{after}");
            ensure!(text.contains(&found), "{path} does not have `{}`", found.trim());
            Ok(text.replace(&found, &format!("{before}{version}{after}")))
        })?;
    }
    for path in DOCUMENTS {
        edit(path, &|text| Ok(document(text, current, version)))?;
    }
    for path in LOCKS {
        edit(path, &|text| Ok(lock(text, current, version)))?;
    }
    Ok(edits)
}

fn document(text: &str, current: &Version, version: &Version) -> String {
    BEFORE.iter().fold(text.to_owned(), |text, before| {
        text.replace(&format!("{before}{current}"), &format!("{before}{version}"))
    })
}

/// Crates without a source are our own.
fn lock(text: &str, current: &Version, version: &Version) -> String {
    let packages = text.split("\n\n").map(|package| {
        let is_own = package.starts_with("[[package]]") && !package.contains("\nsource = ");
        let (old, new) =
            (format!("\nversion = \"{current}\"\n"), format!("\nversion = \"{version}\"\n"));
        if is_own { package.replace(&old, &new) } else { package.to_owned() }
    });
    packages.collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Version = Version::new(0, 1, 0);
    const NEW: Version = Version::new(0, 2, 0);

    #[test]
    fn each_place_gets_the_new_version_and_nothing_else_does() -> Result<()> {
        let read = |path: &str| {
            Ok(match path {
                "Cargo.toml" => {
                    "[workspace.package]\nversion = \"0.1.0\"\n[x]\nversion = \"0.1.0\"\n"
                }
                "Dockerfile" => "LABEL org.opencontainers.image.version=\"0.1.0\"\n",
                path if path.ends_with("Chart.yaml") => {
                    "name: a\nversion: 0.1.0\nappVersion: \"0.1.0\"\n"
                }
                "Cargo.lock" => {
                    "[[package]]\nname = \"own\"\nversion = \"0.1.0\"\ndependencies = []\n\n\
                     [[package]]\nname = \"other\"\nversion = \"0.1.0\"\nsource = \"registry\"\n"
                }
                "docs/install.md" => "registry.example/interceptor:0.1.0 and 10.1.0.0\n",
                _ => "",
            }
            .to_owned())
        };
        let after = |path: &str| -> Result<String> {
            let edits = edits(&OLD, &NEW, read)?;
            Ok(edits
                .into_iter()
                .find(|edit| edit.path == path)
                .unwrap_or_else(|| panic!("{path}"))
                .after)
        };
        let expected = "[workspace.package]\nversion = \"0.2.0\"\n[x]\nversion = \"0.1.0\"\n";
        assert_eq!(after("Cargo.toml")?, expected);
        let expected = "name: a\nversion: 0.2.0\nappVersion: \"0.2.0\"\n";
        assert_eq!(after("deploy/charts/interceptor/Chart.yaml")?, expected);
        let expected = "registry.example/interceptor:0.2.0 and 10.1.0.0\n";
        assert_eq!(after("docs/install.md")?, expected);
        assert_eq!(after("Cargo.lock")?.matches("0.2.0").count(), 1);
        Ok(())
    }

    #[test]
    fn a_place_without_the_version_is_an_error() {
        let error = edits(&OLD, &NEW, |_| Ok("nothing\n".into())).expect_err("no version");
        let expected = "Cargo.toml does not have `[workspace.package]\nversion = \"0.1.0\"`";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn changed_and_added_lines_are_shown_with_their_numbers() {
        let edit = |before: &str, after: &str| {
            Edit { path: "a".into(), before: before.into(), after: after.into() }.show()
        };
        assert_eq!(edit("1\n2\n3\n", "1\nnew\n3\n"), "a\n    2: - 2\n    2: + new\n");
        assert_eq!(edit("1\n2\n", "1\nx\ny\n2\n"), "a\n    2: + x\n    2: + y\n");
    }
}
