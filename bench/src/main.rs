//! Benchmarks of interceptor's data path in comparison with other proxies.
//!
//! - `serve` and `load` are a small server and load generator, which work on any machine.
//! - `steal` and `http` build network namespaces and run whole comparisons there.
//! - `accept` measures the cost for all processes of the host.
//!
//! `bench/README.md` explains the method and the results.

#![forbid(unsafe_code)]

mod accept;
mod cli;
mod cpus;
mod histogram;
mod http;
mod load;
mod net;
mod serve;
mod steal;
mod usage;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("interceptor-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
