//! Checks the dependency tree against `deny.toml`: licences, bans, duplicates and sources.
//!
//! cargo-deny does that too and more, but takes minutes to compile. The workflow runs it with the
//! same file, and this check keeps `cargo xtask lint` quick. Advisories need their database, which
//! only the workflow can fetch.

mod license;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package};
use serde::Deserialize;

use crate::{arch::Arch, cargo};

/// The only source of packages, as cargo names it.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The part of `deny.toml` that this check reads.
#[derive(Debug, Deserialize)]
struct Config {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Entry>,
    skip: Vec<Entry>,
}

/// `{ crate = "name@version", reason = "…" }`
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "crate")]
    package: String,
    reason: String,
}

/// What the check needs to know of a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Dependency {
    name: String,
    version: String,
    license: Option<String>,
    source: String,
}

/// One message for each rule that a dependency breaks.
///
/// # Errors
///
/// `deny.toml` can't be read, or cargo does not list the dependencies.
pub(crate) fn find(workspace: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace.join("deny.toml")).context("read deny.toml")?;
    let config = toml::from_str(&text).context("read deny.toml")?;
    let mut dependencies = BTreeSet::new();
    for arch in Arch::ALL {
        let target = format!("{}-unknown-linux-gnu", arch.name());
        let metadata = MetadataCommand::new()
            .cargo_path(cargo::plain().get_program())
            .manifest_path(workspace.join("Cargo.toml"))
            .other_options(["--locked", "--filter-platform", &target].map(String::from))
            .exec()
            .context("ask cargo for the dependencies")?;
        dependencies.extend(resolved(&metadata)?);
    }
    Ok(check(&config, &dependencies))
}

/// The packages of others.
fn resolved(metadata: &Metadata) -> Result<Vec<Dependency>> {
    let resolve = metadata.resolve.as_ref().context("cargo resolved nothing")?;
    let ids = resolve.nodes.iter().map(|node| &node.id).collect::<BTreeSet<_>>();
    let packages = metadata.packages.iter().filter(|package| ids.contains(&package.id));
    let dependency = |package: &Package| {
        Some(Dependency {
            name: package.name.to_string(),
            version: package.version.to_string(),
            license: package.license.clone(),
            source: package.source.as_ref()?.repr.clone(),
        })
    };
    Ok(packages.filter_map(dependency).collect())
}

fn check(config: &Config, dependencies: &BTreeSet<Dependency>) -> Vec<String> {
    let mut found = Vec::new();
    let mut versions = BTreeMap::<&str, Vec<&str>>::new();
    for Dependency { name, version, license, source } in dependencies {
        let package = format!("{name}@{version}");
        if source != CRATES_IO {
            found.push(format!("{package} comes from {source}; only crates.io is allowed"));
        }
        match license.as_deref().map(|it| (it, license::is_allowed(it, &config.licenses.allow))) {
            None => found.push(format!("{package} names no licence")),
            Some((license, false)) => found.push(format!(
                "{package} is under {license}, which [licenses] in deny.toml does not allow"
            )),
            Some((_, true)) => {}
        }
        if let Some(ban) = config.bans.deny.iter().find(|ban| ban.package == *name) {
            found.push(format!("{name} is banned by deny.toml: {}", ban.reason));
        }
        if !config.bans.skip.iter().any(|skip| skip.package == package) {
            versions.entry(name).or_default().push(version);
        }
    }
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        found.push(format!(
            "{name} is there in several versions, {}: update what needs the old one, or add it to \
             `skip` in deny.toml with the reason",
            versions.join(", ")
        ));
    }
    for skip in &config.bans.skip {
        let is_used = |it: &Dependency| skip.package == format!("{}@{}", it.name, it.version);
        if !dependencies.iter().any(is_used) {
            found.push(format!("deny.toml skips {}, which is gone: remove it", skip.package));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "
        [licenses]
        allow = [\"MIT\"]
        [bans]
        deny = [{ crate = \"openssl\", reason = \"rustls is used\" }]
        skip = [{ crate = \"old@1.0.0\", reason = \"x needs it\" }]
    ";

    fn dependency(name: &str, version: &str) -> Dependency {
        let [name, version] = [name, version].map(str::to_owned);
        Dependency { name, version, license: Some("MIT".into()), source: CRATES_IO.into() }
    }

    fn found(dependencies: &[Dependency]) -> Vec<String> {
        let config = toml::from_str(CONFIG).expect("the config is right");
        // Without it, the entry in `skip` is one too many.
        let all = dependencies.iter().cloned().chain([dependency("old", "1.0.0")]);
        check(&config, &all.collect())
    }

    #[test]
    fn the_rules_hold_for_each_dependency() {
        assert_eq!(found(&[dependency("a", "1.0.0"), dependency("old", "2.0.0")]), [""; 0]);
        let gpl = Dependency { license: Some("GPL-3.0".into()), ..dependency("a", "1.0.0") };
        let none = Dependency { license: None, ..dependency("a", "1.0.0") };
        let git = Dependency { source: "git+https://x".into(), ..dependency("a", "1.0.0") };
        for (dependency, message) in [
            (gpl, "a@1.0.0 is under GPL-3.0"),
            (none, "a@1.0.0 names no licence"),
            (git, "a@1.0.0 comes from git+https://x"),
            (dependency("openssl", "1.0.0"), "openssl is banned by deny.toml: rustls is used"),
        ] {
            let found = found(&[dependency]);
            assert!(found.len() == 1 && found[0].starts_with(message), "{found:?}");
        }
    }

    #[test]
    fn two_versions_need_an_entry_and_an_entry_needs_its_version() {
        let found = found(&[dependency("a", "1.0.0"), dependency("a", "2.0.0")]);
        assert!(found[0].starts_with("a is there in several versions, 1.0.0, 2.0.0"), "{found:?}");
        let config = toml::from_str(CONFIG).expect("the config is right");
        let found = check(&config, &BTreeSet::new());
        assert_eq!(found, ["deny.toml skips old@1.0.0, which is gone: remove it"]);
    }
}
