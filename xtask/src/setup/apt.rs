//! Debian packages: installs those whose program is missing, without starting any service.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::run;

/// A program, its package, and its purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
    pub(crate) why: &'static str,
}

/// Installs the packages of missing programs.
pub(crate) fn install(needs: &[Need]) -> Result<()> {
    let missing = needs.iter().filter(|need| run::find(need.program).is_none()).collect::<Vec<_>>();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages = missing.iter().map(|need| need.package).collect::<Vec<_>>();
    packages.sort_unstable();
    packages.dedup();
    for need in &missing {
        eprintln!("missing: {:16} {} (package {})", need.program, need.why, need.package);
    }
    if run::find("apt-get").is_none() {
        bail!("there is no apt-get; install these programs with your system's package manager");
    }
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));

    let known = Command::new("apt-cache").args(["show", "--quiet"]).args(&packages).output();
    if !known.is_ok_and(|output| output.status.success()) {
        as_root("apt-get update --quiet", &[])?;
    }
    eprintln!("installing {} without starting any service", packages.join(" "));
    let script = include_str!("apt-install.sh");
    if as_root(script, &packages).is_err() {
        // The package lists may be older than the mirror.
        as_root("apt-get update --quiet", &[])?;
        as_root(script, &packages)
            .with_context(|| format!("install packages; by hand: {by_hand}"))?;
    }
    for need in missing {
        run::find(need.program).with_context(|| {
            format!("package {} is installed, but has no {:?}", need.package, need.program)
        })?;
    }
    Ok(())
}

/// Runs a shell script as root.
fn as_root(script: &str, arguments: &[&str]) -> Result<()> {
    let words = run::sudo()?
        .into_iter()
        .chain(["sh", "-ec", script, "sh"].map(Into::into))
        .collect::<Vec<_>>();
    let status = Command::new(&words[0])
        .args(&words[1..])
        .args(arguments)
        .status()
        .context("run a script as root")?;
    if !status.success() {
        bail!("apt-get failed: {status}");
    }
    Ok(())
}
