//! The commands other than `interceptor run`. Each answers one question or does one thing, and
//! ends.
//!
//! ```text
//! check.rs      `check`: is this host able to run the daemon?
//! rule.rs       `rule`: what does this rule mean, and does it take this request?
//! status.rs     `status`: what a running daemon reports, as a table or as JSON
//! selftest.rs   `selftest`: the pod of `helm test`
//! uninstall.rs  `uninstall`: the job of `helm uninstall`
//! ```

#![expect(clippy::print_stdout, reason = "commands answer on the standard output")]

pub mod check;
pub mod rule;
pub mod selftest;
pub mod status;
pub mod uninstall;
