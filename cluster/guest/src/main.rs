//! What runs in the pods of the test cluster, as one static program, so that its images need no base and no registry:
//!
//! - `guest pause` keeps the namespaces of a pod, as Kubernetes' own pause does;
//! - `guest serve PORT...` tells each caller who answered, and is the app, or the developer's laptop.

#![forbid(unsafe_code)]

mod grpc;
mod pause;
mod serve;

use std::{env, process::ExitCode};

use nix::sys::signal::{SigSet, Signal};

fn main() -> ExitCode {
    let words = env::args().skip(1).collect::<Vec<_>>();
    let words = words.iter().map(String::as_str).collect::<Vec<_>>();
    // Blocked before the first thread begins, so that each comes to whoever waits for it: the kernel gives the first
    // process of a PID namespace no signal that nobody asked for.
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
