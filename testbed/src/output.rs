//! The output of a command that has ended.

use std::process::Output;

use anyhow::{Result, ensure};

/// What a command printed, and how it ended.
#[derive(Clone, Debug)]
pub struct CommandOutput {
    /// The command, for messages.
    pub command: String,
    /// The exit code; `None` if a signal ended the command.
    pub exit: Option<i32>,
    /// The standard output.
    pub stdout: String,
    /// The standard error.
    pub stderr: String,
}

impl CommandOutput {
    /// The output of a command that is named `command` in messages.
    pub fn new(command: &str, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            command: command.to_owned(),
            exit: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// The standard output.
    ///
    /// # Errors
    /// If the exit code is not 0; the error has all output.
    pub fn ok(self) -> Result<String> {
        let Self { command, exit, stdout, stderr } = self;
        ensure!(exit == Some(0), "{command}: exit {exit:?}: {} {}", stderr.trim(), stdout.trim());
        Ok(stdout)
    }
}
