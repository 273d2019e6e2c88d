//! `ip` from iproute2: one process for a whole script.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// Runs each line of `script` as an `ip` command, in the namespace of the command `ip`.
///
/// # Errors
/// The first line that fails ends the script; the error has the message of `ip` and the script.
pub(crate) fn batch(ip: &mut Command, script: &str) -> Result<()> {
    let script = script.lines().map(|line| format!("{}\n", line.trim())).collect::<String>();
    let mut child = ip
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start `ip`, of the package iproute2")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes()).context("write to `ip`")?;
    }
    let output = child.wait_with_output().context("wait for `ip`")?;
    ensure!(
        output.status.success(),
        "ip: {}\nin this script:\n{script}",
        String::from_utf8_lossy(&output.stderr).trim(),
    );
    Ok(())
}
