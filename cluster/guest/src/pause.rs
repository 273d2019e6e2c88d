//! The first process of a pod, which only waits for SIGTERM or SIGINT.

use std::process::ExitCode;

use nix::{
    sys::{
        signal::{SigSet, Signal},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

pub(crate) fn pause(signals: &SigSet) -> ExitCode {
    loop {
        match signals.wait() {
            // In a shared PID namespace, the orphans of the containers become our children.
            Ok(Signal::SIGCHLD) => reap_children(),
            Ok(_) => return ExitCode::SUCCESS,
            Err(_) => return ExitCode::FAILURE,
        }
    }
}

/// Collects the exit statuses of all children that have ended.
fn reap_children() {
    let any = Pid::from_raw(-1);
    while waitpid(any, Some(WaitPidFlag::WNOHANG))
        .is_ok_and(|status| status != WaitStatus::StillAlive)
    {}
}
