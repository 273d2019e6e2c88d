//! The cache: tools that were built or installed once, outside of the tree.

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result};

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
