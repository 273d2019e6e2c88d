//! The first process of a pod: it does nothing, until it is told to end.

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
            // Where the pod shares its PID namespace, the orphans of its containers are ours.
            Ok(Signal::SIGCHLD) => bury_the_dead(),
            Ok(_) => return ExitCode::SUCCESS,
            Err(_) => return ExitCode::FAILURE,
        }
    }
}

fn bury_the_dead() {
    let any = Pid::from_raw(-1);
    while waitpid(any, Some(WaitPidFlag::WNOHANG))
        .is_ok_and(|status| status != WaitStatus::StillAlive)
    {}
}
