//! Requires `#![forbid(unsafe_code)]` in the root of every program and library without `unsafe`.
//! Then a review of unsafe code needs to read only the others.

use std::path::Path;

use anyhow::Result;

use super::imports::Tree;

/// A message if the root file could have the attribute and does not.
///
/// # Errors
///
/// A source file can't be read.
pub(crate) fn find(workspace: &Path, root: &Path) -> Result<Option<String>> {
    let tree = Tree::read(workspace, root)?;
    let needs_it = !tree.has_word("unsafe") && !tree.has_word("no_mangle");
    // The attribute's words occur nowhere else.
    let has_it = tree.uses_name(Tree::ROOT, "forbid") && tree.uses_name(Tree::ROOT, "unsafe_code");
    let name = root.strip_prefix(workspace).unwrap_or(root).display();
    Ok((needs_it && !has_it).then(|| {
        format!(
            "{name} has no `unsafe` below it: add `#![forbid(unsafe_code)]` behind its `//!` lines"
        )
    }))
}
