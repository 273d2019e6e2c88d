//! Measures interceptor's data path side by side with its peers.
//!
//! `serve` and `load` are a small server and load generator that work anywhere; `steal` builds network
//! namespaces and runs the whole comparison; `accept` times what all processes of the host pay. `bench/README.md` says how to read the results.

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
