//! Exit codes, after sysexits(3) where one fits.

use std::process::ExitCode;

/// The exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command succeeded.
    Ok = 0,
    /// The answer is no: a check failed, no rule matches, or the daemon can't be reached.
    Failure = 1,
    /// A rule or the command line is invalid.
    Usage = 2,
    /// A file is invalid (EX_DATAERR).
    Data = 65,
    /// A file can't be read (EX_NOINPUT).
    NoInput = 66,
    /// The system refused a thread, a socket or an event loop (EX_OSERR).
    Os = 71,
    /// The daemon lacks a right, or the kernel lacks a feature (EX_NOPERM).
    NoPermission = 77,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
