//! The licences of everything that is linked into the daemon: a list, and the texts that most
//! licences want to accompany the program.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, Metadata, Package, PackageId};

use crate::setup::rust::Rustc;

/// The daemon, its kernel programs, and the source of the certificate authorities.
const ROOTS: [&str; 3] = ["interceptor", "interceptor-ebpf", "webpki-root-certs"];

/// A file with one of these in its name has the text of a licence.
const NAMES: [&str; 5] = ["license", "licence", "copying", "copyright", "notice"];

/// The C library is not a package.
const MUSL: &str = include_str!("musl-copyright.txt");

/// A list of all dependencies, then each text once with the packages that it covers.
pub(crate) fn dependencies(metadata: &Metadata) -> Result<String> {
    let packages = linked(metadata)?;
    let mut list = String::from(
        "The components of interceptor with their licences. The texts follow this list.\n\n",
    );
    let mut texts = BTreeMap::<String, BTreeSet<String>>::new();
    let _ = writeln!(list, "{:40} MIT", "musl libc");
    texts.entry(MUSL.trim().to_owned()).or_default().insert("musl libc".into());
    let _ = writeln!(list, "{:40} see rust-standard-library.html", "Rust's standard library");
    for package in packages {
        let name = format!("{} {}", package.name, package.version);
        let license = package.license.as_deref().unwrap_or("see its text below");
        let _ = writeln!(
            list,
            "{name:40} {license:40} {}",
            package.repository.as_deref().unwrap_or_default()
        );
        for text in texts_of(package)? {
            texts.entry(text).or_default().insert(name.clone());
        }
    }
    for (text, owners) in &texts {
        let owners = owners.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let _ = write!(list, "\n\n{}\n{owners}\n\n{text}\n", "=".repeat(80));
    }
    Ok(list)
}

/// The licences of the standard library, as the toolchain has them.
pub(crate) fn rust_library() -> Result<Vec<u8>> {
    let path = Rustc::ask()?.sysroot.join("share/doc/rust/COPYRIGHT-library.html");
    fs::read(&path).with_context(|| {
        format!(
            "read {}; rustup's toolchains have it, those of distributions may not",
            path.display()
        )
    })
}

/// The external packages that are in the daemon or generate code for it. Cargo resolves features
/// for the whole workspace here, so the list may have a few packages too many.
pub(crate) fn linked(metadata: &Metadata) -> Result<Vec<&Package>> {
    let resolve = metadata.resolve.as_ref().context("cargo resolved no dependencies")?;
    let nodes = resolve.nodes.iter().map(|node| (&node.id, node)).collect::<BTreeMap<_, _>>();
    let roots = metadata.packages.iter().filter(|package| ROOTS.contains(&package.name.as_str()));
    let mut ahead = roots.map(|package| &package.id).collect::<Vec<_>>();
    let mut seen = BTreeSet::<&PackageId>::new();
    while let Some(id) = ahead.pop() {
        if !seen.insert(id) {
            continue;
        }
        let node = nodes.get(id).with_context(|| format!("cargo did not resolve {id}"))?;
        let normal = |kinds: &[cargo_metadata::DepKindInfo]| {
            kinds.iter().any(|info| info.kind == DependencyKind::Normal)
        };
        ahead.extend(node.deps.iter().filter(|dep| normal(&dep.dep_kinds)).map(|dep| &dep.pkg));
    }
    // Packages of the workspace have no source.
    let others = |package: &&Package| seen.contains(&package.id) && package.source.is_some();
    let mut packages = metadata.packages.iter().filter(others).collect::<Vec<_>>();
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(packages)
}

/// The texts in the folder of a package, and the file that its manifest names.
fn texts_of(package: &Package) -> Result<BTreeSet<String>> {
    let folder = package.manifest_path.parent().context("a manifest without a folder")?;
    let mut texts = BTreeSet::new();
    let entries = fs::read_dir(folder).with_context(|| format!("list {folder}"))?;
    let files = entries.flatten().map(|entry| entry.path()).filter(|path| is_license(path));
    for path in files.chain(package.license_file().map(Into::into)) {
        // Some texts are in other encodings. A wrong letter in a name is better than no text.
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        texts.insert(text.trim().to_owned());
    }
    Ok(texts)
}

fn is_license(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let is_code = path.extension().is_some_and(|extension| extension == "rs");
    path.is_file() && !is_code && NAMES.iter().any(|part| name.contains(part))
}
