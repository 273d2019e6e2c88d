//! What a release publishes: an image for each kind of machine, the chart, a list of what is in the
//! image, and checksums over all of them.

use std::{fmt::Write as _, fs};

use anyhow::{Context as _, Result};
use cargo_metadata::semver::Version;
use sha2::{Digest as _, Sha256};

use super::{chart, sbom};
use crate::{arch::Arch, build, image};

const CHECKSUMS: &str = "SHA256SUMS";

/// The names of all files.
pub(crate) fn names(version: &Version) -> Vec<String> {
    let images = Arch::ALL.map(|arch| image_name(version, arch));
    let others = [chart_name(version), sbom_name(version), CHECKSUMS.to_owned()];
    images.into_iter().chain(others).collect()
}

/// Makes all files in an empty folder.
///
/// # Errors
///
/// A file can't be built or written.
pub(crate) fn make(version: &Version) -> Result<()> {
    let folder = build::target()?.join("dist");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    for arch in Arch::ALL {
        image::for_release(arch, &version.to_string(), &folder.join(image_name(version, arch)))?;
    }
    let write = |name: &str, bytes: Vec<u8>| {
        fs::write(folder.join(name), bytes).with_context(|| format!("write {name}"))
    };
    write(&chart_name(version), chart::archive()?)?;
    write(&sbom_name(version), sbom::document(version)?)?;
    let mut sums = String::new();
    for name in names(version).iter().filter(|name| *name != CHECKSUMS) {
        let bytes = fs::read(folder.join(name)).with_context(|| format!("read {name}"))?;
        let hex =
            Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let _ = writeln!(sums, "{hex}  {name}");
    }
    write(CHECKSUMS, sums.into_bytes())?;
    println!("{}:\n    {}", folder.display(), names(version).join("\n    "));
    Ok(())
}

fn image_name(version: &Version, arch: Arch) -> String {
    format!("interceptor-{version}-image-{}.tar", arch.oci())
}

/// Helm expects this form.
fn chart_name(version: &Version) -> String {
    format!("interceptor-{version}.tgz")
}

fn sbom_name(version: &Version) -> String {
    format!("interceptor-{version}.cdx.json")
}
