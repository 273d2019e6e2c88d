//! What the integration tests share: a scene to play in, and instruments that `testbed` does not have.
//!
//! Each file in `tests/` covers one section of what is promised, each test one promise. See `README.md`.

#![forbid(unsafe_code)]

mod arrivals;
mod background;
mod dns;
mod frozen;
mod http;
mod outcomes;
mod rebuild;
mod scene;
mod second;
pub mod software;

pub use self::{
    arrivals::Arrivals,
    background::Background,
    dns::Dns,
    frozen::{Frozen, threads},
    http::{HttpAnswer, HttpCaller, HttpMirror, PlainHead},
    outcomes::{counted, outcomes, sum},
    rebuild::{delete_netns, make_netns_again},
    scene::{Scene, play, who},
    second::SecondDaemon,
};

use std::time::Duration;

/// A second: how long the app may take to serve again, whatever happened to us.
pub const SECOND: Duration = Duration::from_secs(1);

/// Enough for anything that should happen at once, on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(10);
