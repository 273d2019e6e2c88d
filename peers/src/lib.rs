//! The peer matrix: clients and servers as people run them, each call made directly and through the
//! daemon, and compared.
//!
//! A cell is one client, one server and one oddity. `README.md` says what is compared, and how to
//! add an oddity or a peer.

#![forbid(unsafe_code)]

pub mod cell;
pub mod compare;
pub mod frames;
pub mod jobs;
pub mod known;
pub mod lane;
pub mod matrix;
pub mod normal;
pub mod oddity;
pub mod peer;
pub mod play;
pub mod recorder;
pub mod report;
pub mod run;
pub mod runtimes;
pub mod script;
pub mod servers;
pub mod text;
