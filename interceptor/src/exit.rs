//! Exit codes, after sysexits(3) where one fits.

use std::process::ExitCode;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// The answer is no: a check failed, the daemon can't be reached.
    Failure = 1,
    /// A rule can't be read, or the command line is wrong.
    Usage = 2,
    /// A file is there and can't be understood (EX_DATAERR).
    Data = 65,
    /// A file can't be read (EX_NOINPUT).
    NoInput = 66,
    /// The system gives no thread, socket or event loop (EX_OSERR).
    Os = 71,
    /// A right is missing, or the kernel can't do it (EX_NOPERM).
    NoPermission = 77,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
