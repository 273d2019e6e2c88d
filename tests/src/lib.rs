//! Shared parts of the integration tests: fixtures, and instruments that `testbed` does not have.
//!
//! Each program in `tests/` covers one topic, each test one promise. See `README.md`.

#![forbid(unsafe_code)]

mod background;
mod dns;
mod fixture;
mod frozen;
mod hosts;
mod http;
mod netns;
mod open_loop;
mod outcomes;
mod pattern;
mod second_daemon;
pub mod software;

use std::time::Duration;

use testbed::Capability;

pub use self::{
    background::{Background, block_on},
    dns::Dns,
    fixture::{Fixture, run, served_by, wait_served_by},
    frozen::{Frozen, threads},
    hosts::{DEBUG_HEADER, Hosts, WHEN_DEBUG},
    http::{HttpClient, HttpEchoServer, HttpResponse, RequestHead, ResponseHead},
    netns::{delete_netns, recreate_netns},
    open_loop::OpenLoopLoad,
    outcomes::{counted, outcomes, sum},
    pattern::pattern,
    second_daemon::SecondDaemon,
};

/// One second: the maximum time until the app serves again, whatever happens to the daemon.
pub const SECOND: Duration = Duration::from_secs(1);

/// The capabilities that the chart grants to the daemon.
pub const GRANTED: [Capability; 4] =
    [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon, Capability::SysAdmin];

/// Maximum time for anything that should happen at once, on a machine that is busy with other
/// tests.
pub const TIMEOUT: Duration = Duration::from_secs(10);
