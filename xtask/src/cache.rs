//! The cache: tools that were built or installed once, outside of the tree.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

/// The folder: `$XDG_CACHE_HOME/interceptor`, by default `~/.cache/interceptor`.
///
/// # Errors
///
/// Neither `XDG_CACHE_HOME` nor `HOME` is set.
pub(crate) fn folder() -> Result<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(cache.join("interceptor"))
}

/// Makes the folder `home`. `fill` fills a folder next to it, which is renamed once it is complete.
/// So an interrupted run leaves no incomplete tool.
///
/// # Errors
///
/// `fill` failed, or a file operation.
pub(crate) fn keep(home: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let started = Instant::now();
    let name = home.file_name().context("a folder without a name")?.to_string_lossy();
    let building = home.with_file_name(format!("building-{}-{name}", process::id()));
    fs::create_dir_all(&building).with_context(|| format!("make {}", building.display()))?;
    let filled = fill(&building);
    // Another process may have been faster.
    if filled.is_ok() && fs::rename(&building, home).is_err() && !home.exists() {
        bail!("can't rename {} to {}", building.display(), home.display());
    }
    let _ = fs::remove_dir_all(&building);
    filled?;
    eprintln!("installed in {:.0?}: {}", started.elapsed(), home.display());
    Ok(())
}
