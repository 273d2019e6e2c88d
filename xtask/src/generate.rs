//! Writes the generated files of the repository, or names those that are out of date.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::run;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write nothing; fail if a file is out of date
    #[arg(long)]
    check: bool,
}

pub(crate) fn generate(options: &Options) -> Result<()> {
    if options.check { check() } else { write() }
}

/// Fails if a file is out of date.
pub(crate) fn check() -> Result<()> {
    let mut stale = Vec::new();
    for file in interceptor_deploy::generate(&interceptor_deploy::chart())? {
        if fs::read_to_string(&file.path).ok().as_deref() != Some(&file.text) {
            let path = file.path.strip_prefix(run::workspace()).unwrap_or(&file.path);
            stale.push(path.display().to_string());
        }
    }
    ensure!(stale.is_empty(), "out of date: {}; run `cargo xtask gen`", stale.join(", "));
    Ok(())
}

fn write() -> Result<()> {
    for file in interceptor_deploy::generate(&interceptor_deploy::chart())? {
        fs::write(&file.path, &file.text)
            .with_context(|| format!("write {}", file.path.display()))?;
        eprintln!(
            "wrote {}",
            file.path.strip_prefix(run::workspace()).unwrap_or(&file.path).display()
        );
    }
    Ok(())
}
