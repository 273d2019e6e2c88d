//! The ground of the tests on a real Kubernetes: a cluster that `cargo xtask cluster up` made, workloads in a namespace of
//! their own for each test, callers under whose load things happen, and the product as helm installs it.
//!
//! ```no_run
//! # fn main() {
//! interceptor_e2e::run("redirect", |f| {
//!     f.installed(&[])?;
//!     let web = f.deployment("web", 3)?;
//!     let [taken, ..] = web.pods()?.try_into().expect("three pods");
//!
//!     let callers = f.callers(taken.address())?;
//!     taken.annotate("debug.redirect", &f.to_laptop())?;
//!     taken.wait_active()?;
//!     callers.wait_for("laptop")?;
//!     callers.stop().assert_none_failed();
//!     Ok(())
//! });
//! # }
//! ```
//!
//! The tests look at what people see: kubectl's words, and answers to calls. They wait for conditions, never for a time.
//! They share one cluster and change it, so they run one after the other (`cargo xtask e2e`).

mod cluster;
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
    cluster::{Cluster, CommandOutput, Stopped},
    fixture::{Fixture, at_once, run, run_dual_stack, run_on_nodes, run_with_user_namespaces},
    laptop::{LAPTOP, LAPTOP_PORT, LAPTOP6, on_laptop},
    load::{Calls, LaptopLoad},
    manifests::{Kind, Manifest, Probe},
    pod::{Condition, Looks, Pod},
    product::{Daemon, Product},
    prometheus::Prometheus,
    requests::ask_as,
    workload::Workload,
};

use std::time::Duration;

/// How long anything may take that should be soon, on a machine that does other things too.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// How long pods may take to start or to go.
pub const LONG_TIMEOUT: Duration = Duration::from_secs(90);
