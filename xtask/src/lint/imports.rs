//! Who imports whom: the arrows between the files of a crate.
//!
//! An arrow is a `use` line or a path in code that begins with `crate`, `self`, `super`, a child
//! module or an imported module. It leads to the file that *defines* the thing: re-exports
//! (`pub use`) are followed. Macro calls are read like other code. Tests are left out.
//!
//! Parents and children:
//! - `mod child;` alone is not an arrow, nor is `pub use self::child::Thing;` in a parent that does
//!   not use the thing itself. A parent that only declares and re-exports has no arrow to its
//!   children.
//! - A parent that uses a child's thing has an arrow down to the child.
//! - A child that uses a thing of its parent's file (`super::Thing`) has an arrow up to it. That is
//!   allowed as long as the parent does not use the child: else the two are a circle.

mod mentions;
mod resolve;
mod tree;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Result;

pub(crate) use self::tree::Tree;
use self::{mentions::Mention, resolve::Resolved};

/// One file uses something of another. Paths are below the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrow {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    /// The line in `from`.
    pub(crate) line: usize,
    /// The path as the source has it.
    pub(crate) path: String,
}

/// The arrows of a crate, given its root file (`lib.rs`, `main.rs`): the first for each two files.
///
/// # Errors
///
/// A source file can't be read.
pub(crate) fn arrows(workspace: &Path, root: &Path) -> Result<Vec<Arrow>> {
    let tree = Tree::read(workspace, root)?;
    let mut arrows = BTreeMap::new();
    for (module, mention) in tree.mentions() {
        if !counts(&tree, module, mention) {
            continue;
        }
        let Resolved::Item(to) = resolve::resolve(&tree, module, &mention.path) else { continue };
        let (from, to) = (tree.file(module), tree.file(to));
        // A fuzz target and a test may share a file of the test.
        let is_test = [from, to].iter().any(|file| file.to_string_lossy().contains("/tests/"));
        if from != to && !is_test {
            arrows.entry((from.to_owned(), to.to_owned())).or_insert_with(|| Arrow {
                from: from.to_owned(),
                to: to.to_owned(),
                line: mention.line,
                path: mention.path.join("::"),
            });
        }
    }
    Ok(arrows.into_values().collect())
}

/// A re-export counts only if the file uses the name itself.
fn counts(tree: &Tree, module: usize, mention: &Mention) -> bool {
    match &mention.import {
        Some(import) if import.is_public => tree.uses_name(module, &import.name),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
