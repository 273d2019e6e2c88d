//! The cells that are known to differ, each with its reason.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::cell::Cell;

/// Cells that differ for one reason.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Why, and what has to be done about it.
    pub reason: String,
    /// The oddities.
    oddities: Vec<String>,
    /// The clients; all of them if there is no list.
    clients: Option<Vec<String>>,
    /// The servers; all of them if there is no list.
    servers: Option<Vec<String>>,
    /// Whether these cells differ in some runs only.
    #[serde(default)]
    pub sometimes: bool,
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    difference: Vec<Known>,
}

// === impl Known ===

impl Known {
    /// Reads the file.
    ///
    /// # Errors
    /// The file can't be read, or an entry fits no cell of `all`.
    pub fn read(path: &Path, all: &[Cell<'_>]) -> Result<Vec<Self>> {
        let read = || -> Result<Vec<Self>> {
            let File { difference } = toml::from_str(&fs::read_to_string(path)?)?;
            for known in &difference {
                ensure!(!known.reason.trim().is_empty(), "an entry without a reason");
                for name in &known.oddities {
                    let fits = |cell: &&Cell<'_>| &cell.oddity.name == name && known.fits(cell);
                    ensure!(
                        all.iter().any(|cell| fits(&cell)),
                        "{name:?} has no cell with these clients and servers: remove the name",
                    );
                }
            }
            Ok(difference)
        };
        read().with_context(|| path.display().to_string())
    }

    /// Whether a cell is listed.
    pub fn fits(&self, cell: &Cell<'_>) -> bool {
        let fits = |names: &Option<Vec<String>>, name: &str| {
            names.as_ref().is_none_or(|names| names.iter().any(|listed| listed == name))
        };
        self.oddities.contains(&cell.oddity.name)
            && fits(&self.clients, cell.client.name)
            && fits(&self.servers, cell.server.name)
    }
}
