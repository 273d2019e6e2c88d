//! The node daemon as a library: what the binary puts together, and what tests and benchmarks reach into.
//!
//! Read in this order to follow one stolen connection: [`control`] arms a namespace, [`datapath`] is the kernel's
//! half, [`relay`] serves what the kernel steers to it, [`admin`] tells of it; [`kubernetes`] brings the rules from pods and
//! tells there what became of them. `ARCHITECTURE.md` has the drawing.

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
