//! Archives that depend on their content alone: no times, no users, the order that is given.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

/// A file or a folder, by its path without a slash at either end.
#[derive(Debug)]
pub(crate) enum Entry<'a> {
    Folder { path: &'a str },
    File { path: &'a str, mode: u32, bytes: &'a [u8] },
}

// === impl Entry ===

impl Entry<'_> {
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Folder { path } | Self::File { path, .. } => path,
        }
    }

    pub(crate) fn mode(&self) -> u32 {
        match self {
            Self::Folder { .. } => 0o755,
            Self::File { mode, .. } => *mode,
        }
    }
}

/// A tar archive, owned by root, with all times at the epoch.
///
/// # Errors
///
/// A path is too long for the format.
pub(crate) fn tar<'a>(entries: impl IntoIterator<Item = Entry<'a>>) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_ustar();
        header.set_mode(entry.mode());
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let (path, bytes) = match entry {
            Entry::Folder { path } => {
                header.set_entry_type(EntryType::Directory);
                (format!("{path}/"), &[][..])
            }
            Entry::File { path, bytes, .. } => (path.to_owned(), bytes),
        };
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, &path, bytes)
            .with_context(|| format!("add {path} to the archive"))?;
    }
    tar.into_inner().context("end the archive")
}

/// Compressed, without a name and a time.
///
/// # Errors
///
/// None in practice: it writes to memory.
pub(crate) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut packed = GzBuilder::new().write(Vec::new(), Compression::best());
    packed.write_all(bytes).and_then(|()| packed.finish()).context("compress an archive")
}
