//! The changelog: sections `## 0.1.0 - 2026-01-31` in falling order, below `## Unreleased`.

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::semver::Version;

pub(crate) const FILE: &str = "CHANGELOG.md";

const UNRELEASED: &str = "## Unreleased";

/// The latest version with a section of its own.
pub(crate) fn latest(log: &str) -> Option<Version> {
    let sections = log.lines().filter_map(|line| line.strip_prefix("## "));
    sections.filter_map(|title| Version::parse(title.split_whitespace().next()?).ok()).max()
}

/// Turns the unreleased section into that of a version, below a new and empty one.
///
/// # Errors
///
/// There is no such section, or it has no entries.
pub(crate) fn cut(log: &str, version: &Version, date: &str) -> Result<String> {
    let (before, rest) = log
        .split_once(&format!("\n{UNRELEASED}\n"))
        .with_context(|| format!("{FILE} has no line `{UNRELEASED}`; add it, with the changes"))?;
    let section = rest.split("\n## ").next().unwrap_or_default();
    ensure!(
        section.lines().any(|line| line.starts_with("- ")),
        "{FILE} has no entries below `{UNRELEASED}`; describe what changed for users, as `- …`"
    );
    Ok(format!("{before}\n{UNRELEASED}\n\n## {version} - {date}\n{rest}"))
}

/// The text of a version's section.
///
/// # Errors
///
/// The version has none: it is not released.
pub(crate) fn section(log: &str, version: &Version) -> Result<String> {
    let sections = log.split("\n## ").skip(1);
    let found = sections
        .filter_map(|section| section.split_once('\n'))
        .find(|(title, _)| title.split_whitespace().next() == Some(version.to_string().as_str()));
    let (_, text) = found.with_context(|| {
        format!(
            "{FILE} has no section for {version}, the version in Cargo.toml; \
             `cargo xtask release VERSION --execute` writes both"
        )
    })?;
    Ok(format!("{}\n", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "# Changelog\n\n## Unreleased\n\n### Added\n\n- A thing.\n\n\
                       ## 0.2.0 - 2026-01-02\n\n- Old.\n\n## 0.1.0 - 2026-01-01\n\n- Older.\n";

    #[test]
    fn the_unreleased_section_becomes_that_of_the_version() -> Result<()> {
        let after = cut(LOG, &Version::new(0, 3, 0), "2026-02-03")?;
        let expected = "## Unreleased\n\n## 0.3.0 - 2026-02-03\n\n### Added\n\n- A thing.\n";
        assert!(after.starts_with("# Changelog\n") && after.contains(expected), "{after}");
        assert!(after.ends_with("- Older.\n"), "{after}");
        assert_eq!(section(&after, &Version::new(0, 3, 0))?, "### Added\n\n- A thing.\n");
        assert!(section(&after, &Version::new(0, 4, 0)).is_err());
        assert_eq!(latest(LOG), Some(Version::new(0, 2, 0)));
        assert_eq!(latest(&after), Some(Version::new(0, 3, 0)));
        Ok(())
    }

    #[test]
    fn without_entries_the_remedy_is_named() {
        for (log, message) in [
            ("# Changelog\n\n## Unreleased\n\n### Added\n\n## 0.1.0\n\n- Old.\n", "describe what"),
            ("# Changelog\n\n## 0.1.0\n\n- Old.\n", "has no line `## Unreleased`; add it"),
        ] {
            let error = cut(log, &Version::new(0, 3, 0), "2026-02-03").expect_err(log).to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
