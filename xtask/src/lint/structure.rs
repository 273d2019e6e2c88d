//! The rules of [`circles`] and [`unsafe_code`] for every crate, and those of [`floors`] for the
//! daemon.

use std::path::Path;

use anyhow::{Context as _, Result};
use cargo_metadata::{MetadataCommand, TargetKind};

use super::{circles, floors, imports, unsafe_code};
use crate::cargo;

/// One message for each import that breaks a rule. Paths are below the root of the workspace.
///
/// # Errors
///
/// Cargo does not list the crates, or a source file can't be read.
pub(crate) fn find(workspace: &Path) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .cargo_path(cargo::plain().get_program())
        .manifest_path(workspace.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("ask cargo for the crates of the workspace")?;
    let mut found = Vec::new();
    for package in metadata.workspace_packages() {
        let is_code = |kind: &TargetKind| matches!(kind, TargetKind::Lib | TargetKind::Bin);
        for target in &package.targets {
            found.extend(unsafe_code::find(workspace, target.src_path.as_std_path())?);
            if !target.kind.iter().any(is_code) {
                continue;
            }
            let arrows = imports::arrows(workspace, target.src_path.as_std_path())?;
            found.extend(circles::find(&arrows));
            if package.name.as_str() == floors::CRATE {
                found.extend(floors::find(&arrows));
            }
        }
    }
    Ok(found)
}
