//! What is in the image, for programs that look for known vulnerabilities: a software bill of
//! materials in the form of CycloneDX 1.6, as JSON.
//!
//! It has no time and no serial number, so that the same tree gives the same bytes.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};
use cargo_metadata::semver::Version;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{arch::Arch, image, run, setup::rust};

/// `Cargo.lock`
#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    /// SHA-256 of the package as crates.io has it.
    checksum: Option<String>,
}

/// The document.
///
/// # Errors
///
/// Cargo does not list the dependencies, or `Cargo.lock` can't be read.
pub(crate) fn document(version: &Version) -> Result<Vec<u8>> {
    let lock =
        fs::read_to_string(run::workspace().join("Cargo.lock")).context("read Cargo.lock")?;
    let lock = toml::from_str::<Lock>(&lock).context("read Cargo.lock")?;
    let sums =
        lock.package.into_iter().filter_map(|it| Some(((it.name, it.version), it.checksum?)));
    let sums = sums.collect::<BTreeMap<_, _>>();

    let mut components = BTreeMap::new();
    for arch in Arch::ALL {
        for package in image::packages(arch)? {
            let key = (package.name.to_string(), package.version.to_string());
            let license = package.license.map(|license| license.replace('/', " OR "));
            components.insert(key.clone(), component(&key, license.as_deref(), sums.get(&key)));
        }
    }
    // Neither is a package: the C library, and what the compiler brings along.
    let libraries = [
        json!({ "type": "library", "bom-ref": "musl", "name": "musl",
                "licenses": [{ "license": { "id": "MIT" } }] }),
        json!({ "type": "library", "bom-ref": "rust-std", "name": "rust-std",
                "version": rust::pinned()?, "licenses": [{ "expression": "MIT OR Apache-2.0" }] }),
    ];
    let components = components.into_values().chain(libraries).collect::<Vec<_>>();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": {
            "type": "application",
            "bom-ref": "interceptor",
            "name": "interceptor",
            "version": version.to_string(),
            "licenses": [{ "expression": "MIT OR Apache-2.0" }],
        } },
        "components": components,
    });
    let mut bytes = serde_json::to_vec_pretty(&document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn component(
    (name, version): &(String, String),
    license: Option<&str>,
    checksum: Option<&String>,
) -> Value {
    let url = format!("pkg:cargo/{name}@{version}");
    let mut component = json!({
        "type": "library", "bom-ref": url, "name": name, "version": version, "purl": url,
    });
    if let Some(license) = license {
        component["licenses"] = json!([{ "expression": license }]);
    }
    if let Some(checksum) = checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_a_licence_and_the_checksum_of_the_lock_file() -> Result<()> {
        let document = serde_json::from_slice::<Value>(&document(&Version::new(1, 2, 3))?)?;
        assert_eq!(document["metadata"]["component"]["version"], "1.2.3");
        let components = document["components"].as_array().context("no components")?;
        assert!(components.len() > 50, "{}", components.len());
        for component in components {
            assert!(component["licenses"][0].is_object(), "{component}");
            let is_package = component["purl"].is_string();
            let sum = component["hashes"][0]["content"].as_str().unwrap_or_default();
            assert_eq!(sum.len(), if is_package { 64 } else { 0 }, "{component}");
        }
        let has = |name: &str| components.iter().any(|component| component["name"] == name);
        assert!(has("tokio") && has("aya-ebpf") && has("rust-std") && !has("proptest"));
        Ok(())
    }
}
