//! The content of the image, file by file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    time::SystemTime,
};

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::Metadata;
use pem_rfc7468::LineEnding;

use super::licenses;
use crate::{archive::Entry, run};

pub(crate) const DAEMON: &str = "interceptor";
pub(crate) const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
pub(crate) const DEPENDENCIES: &str = "licenses/dependencies.txt";
pub(crate) const RUST_LIBRARY: &str = "licenses/rust-standard-library.html";
/// The project's licences, by their names in the repository.
pub(crate) const LICENSES: [&str; 3] = ["LICENSE-APACHE", "LICENSE-GPL2", "LICENSE-MIT"];

/// Files by path, without a leading slash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rootfs {
    files: BTreeMap<String, Content>,
}

#[derive(Clone, Debug)]
struct Content {
    mode: u32,
    bytes: Vec<u8>,
}

// === impl Rootfs ===

impl Rootfs {
    /// The content of an image with this daemon.
    pub(crate) fn of_image(daemon: &[u8], metadata: &Metadata) -> Result<Self> {
        let mut rootfs = Self::default();
        rootfs.add(DAEMON, 0o755, daemon.to_vec());
        rootfs.add(AUTHORITIES, 0o644, authorities()?);
        for name in LICENSES {
            let path = run::workspace().join(name);
            let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            rootfs.add(&format!("licenses/{name}"), 0o644, text);
        }
        rootfs.add(DEPENDENCIES, 0o644, licenses::dependencies(metadata)?.into_bytes());
        rootfs.add(RUST_LIBRARY, 0o644, licenses::rust_library()?);
        Ok(rootfs)
    }

    pub(crate) fn add(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        self.files.insert(path.to_owned(), Content { mode, bytes });
    }

    /// The number of files.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// The size of all files, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.files.values().map(|content| content.bytes.len() as u64).sum()
    }

    /// All entries in the order of their paths, each folder before its content.
    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        let mut entries = Vec::new();
        let mut folders = BTreeSet::new();
        for (path, Content { mode, bytes }) in &self.files {
            for (slash, _) in path.match_indices('/') {
                if folders.insert(&path[..slash]) {
                    entries.push(Entry::Folder { path: &path[..slash] });
                }
            }
            entries.push(Entry::File { path, mode: *mode, bytes });
        }
        entries
    }

    /// Writes all of it below a folder, which must be empty or missing.
    pub(crate) fn write_to(&self, root: &Path) -> Result<()> {
        let context = |path: &Path| format!("write {}", path.display());
        fs::create_dir_all(root).with_context(|| context(root))?;
        let is_empty = root.read_dir().with_context(|| context(root))?.next().is_none();
        ensure!(is_empty, "{} is not empty; its files would get into the image", root.display());
        for entry in self.entries() {
            let path = root.join(entry.path());
            match entry {
                Entry::Folder { .. } => fs::create_dir(&path).with_context(|| context(&path))?,
                Entry::File { bytes, mode, .. } => {
                    let mut file = File::options()
                        .write(true)
                        .create_new(true)
                        .mode(mode)
                        .open(&path)
                        .with_context(|| context(&path))?;
                    file.write_all(bytes).with_context(|| context(&path))?;
                }
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode()))
                .with_context(|| context(&path))?;
        }
        // Last: creating a file changes the time of its folder.
        for path in self.entries().iter().map(|entry| root.join(entry.path())) {
            let times =
                File::open(&path).and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH));
            times.with_context(|| context(&path))?;
        }
        Ok(())
    }
}

/// The certificate authorities that Mozilla trusts. Those of the building machine would differ from
/// machine to machine, and may include a company's own. `Cargo.lock` has the version of the crate,
/// so the list is the same for every builder of one commit.
fn authorities() -> Result<Vec<u8>> {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let pem = pem_rfc7468::encode_string("CERTIFICATE", LineEnding::LF, certificate);
        text += &pem.map_err(|error| anyhow::anyhow!("write a certificate as text: {error}"))?;
    }
    Ok(text.into_bytes())
}
