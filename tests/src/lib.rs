//! What the integration tests share: a scene to play in, and instruments that `testbed` does not have.
//!
//! Each file in `tests/` covers one section of what is promised, each test one promise. See `README.md`.

mod background;
mod dns;
mod fixture;
mod frozen;
mod http;
mod netns;
mod open_loop;
mod outcomes;
mod second_daemon;
pub mod software;

pub use self::{
    background::Background,
    dns::Dns,
    fixture::{Fixture, run, served_by},
    frozen::{Frozen, threads},
    http::{HttpClient, HttpEchoServer, HttpResponse, RequestHead},
    netns::{delete_netns, recreate_netns},
    open_loop::OpenLoopLoad,
    outcomes::{counted, outcomes, sum},
    second_daemon::SecondDaemon,
};

use std::time::Duration;

/// A second: how long the app may take to serve again, whatever happened to us.
pub const SECOND: Duration = Duration::from_secs(1);

/// Enough for anything that should happen at once, on a machine that is busy with other tests.
pub const TIMEOUT: Duration = Duration::from_secs(10);
