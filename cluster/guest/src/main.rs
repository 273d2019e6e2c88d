//! The program in the pods of the test cluster. It is static, so its images need no base image and
//! no registry.
//!
//! - `guest pause` keeps the namespaces of a pod, like Kubernetes' own pause.
//! - `guest serve PORT...` tells each client who answered. It is the app or the developer's laptop.

#![forbid(unsafe_code)]

mod grpc;
mod pause;
mod serve;

use std::{env, process::ExitCode};

use nix::sys::signal::{SigSet, Signal};

fn main() -> ExitCode {
    let words = env::args().skip(1).collect::<Vec<_>>();
    let words = words.iter().map(String::as_str).collect::<Vec<_>>();
    // Block the signals before the first thread starts, so that `wait` receives them. The kernel
    // drops a signal to the first process of a PID namespace unless that blocks or handles it.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD]);
    if let Err(error) = signals.thread_block() {
        eprintln!("guest: block signals: {error}");
        return ExitCode::FAILURE;
    }
    match words.as_slice() {
        ["pause"] => pause::pause(&signals),
        ["serve", ports @ ..] if !ports.is_empty() => serve::serve(ports, &signals),
        _ => {
            eprintln!("usage: guest pause | guest serve PORT...");
            ExitCode::from(64)
        }
    }
}
