//! The node daemon as a library, for its binary, tests and benchmarks.
//!
//! To follow one stolen connection, read the modules in this order. [`control`] arms a namespace.
//! [`datapath`] is the kernel's half. [`relay`] serves the connections that the kernel steers to
//! it. [`admin`] reports the counters. [`kubernetes`] reads the rules of pods and reports their
//! state there. `ARCHITECTURE.md` has the drawing.

#![warn(clippy::missing_errors_doc, clippy::print_stderr, clippy::print_stdout)]

pub mod admin;
pub mod app;
pub mod backoff;
pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
pub mod datapath;
pub mod drain;
pub mod exit;
pub mod kubernetes;
pub mod limits;
pub mod netns;
pub mod readiness;
pub mod relay;
