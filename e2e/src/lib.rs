//! Fixtures of the tests on a real Kubernetes.
//!
//! `cargo xtask cluster up` makes the cluster. Each test has workloads in a namespace of its own, a
//! load of clients, and the product as helm installs it.
//!
//! ```no_run
//! # fn main() {
//! interceptor_e2e::run("redirect", |f| {
//!     f.installed(&[])?;
//!     let web = f.deployment("web", 3)?;
//!     let [redirected, ..] = web.pods()?.try_into().expect("three pods");
//!
//!     let load = f.load(redirected.address())?;
//!     redirected.annotate("debug.redirect", &f.to_laptop())?;
//!     redirected.wait_active()?;
//!     load.wait_for("laptop")?;
//!     load.stop().assert_none_failed();
//!     Ok(())
//! });
//! # }
//! ```
//!
//! Tests assert what users see: the output of kubectl, and answers to calls. They wait for
//! conditions, never for a fixed time. They share one cluster and change it, so they run one after
//! the other (`cargo xtask e2e`).

#![forbid(unsafe_code)]

mod cluster;
mod daemon;
mod fixture;
mod laptop;
mod load;
mod manifests;
mod pod;
mod product;
mod prometheus;
mod requests;
mod workload;

pub use self::{
    cluster::{Cluster, Drained, Stopped},
    daemon::{Daemon, Killed},
    fixture::{Fixture, at_once, run, run_dual_stack, run_on_nodes, run_with_user_namespaces},
    laptop::{LAPTOP, LAPTOP_PORT, LAPTOP6, on_laptop},
    load::{Calls, LaptopLoad},
    manifests::{Kind, Manifest, Probe},
    pod::{Condition, Pod, PodSnapshot},
    product::{AnotherRelease, Product},
    prometheus::Prometheus,
    requests::ask_as,
    workload::Workload,
};

use std::time::Duration;

/// Maximum time for anything that should happen at once, on a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Maximum time for pods to start or to end.
pub const LONG_TIMEOUT: Duration = Duration::from_secs(90);
