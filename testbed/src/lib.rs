//! Network namespaces with real sockets: the ground that demo, tests and benchmarks stand on.
//!
//! A test builds a small cluster node out of network namespaces, puts servers and callers into it, runs the daemon,
//! and asserts what people would see: bytes, counters, status.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use testbed::{Load, Daemon, TcpService, Topology};
//! # fn main() -> anyhow::Result<()> {
//! let t = Topology::new("redirect")?;
//! let (pod, laptop, client) = (t.pod("web")?, t.host("laptop")?, t.host("client")?);
//! let _app = TcpService::tagged(&pod, (pod.ip4(), 8080), "app")?;
//! let _dev = TcpService::tagged(&laptop, (laptop.ip4(), 3000), "laptop")?;
//!
//! let daemon = Daemon::start(&t, &testbed::workload(&pod, &format!("8080 -> {}:3000", laptop.ip4())), &[])?;
//! daemon.wait_active("web")?;
//!
//! let caller = Load::new(&client, (pod.ip4(), 8080)).start()?;
//! caller.wait_for_tag("laptop", Duration::from_secs(2))?;
//! assert_eq!(caller.stop().failures().len(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here touches the network namespace of the machine. Each [`Topology`] has a node of its own that routes between
//! its pods and hosts, so addresses may repeat from one topology to the next, and tests may run side by side.
//! All of it is plain threads and blocking sockets: what is tested must not share a runtime with what tests it.
//!
//! When a test panics, its topology prints the logs of its processes and how to look around inside. With
//! `INTERCEPTOR_KEEP=1` in the environment it is left standing.

mod bpf;
mod bulk;
mod call;
mod cgroup;
mod command;
mod daemon;
mod http;
mod inventory;
mod ip;
mod load;
mod metrics;
mod namespace;
mod nginx;
mod process;
mod requires;
mod service;
mod sweep;
mod topology;
mod users;
mod wait;

pub use self::{
    bpf::{BpfInventory, BpfKind, BpfObject, bpf_inventory},
    bulk::{Checksum, receive, send},
    call::{Answer, Connection, Protocol, call},
    cgroup::Cgroup,
    command::{Capability, CommandExt},
    daemon::{Daemon, binary, workload},
    inventory::{NetnsInventory, netns_inventory},
    load::{Call, Load, Report, RunningLoad},
    metrics::{Metrics, Sample},
    namespace::Namespace,
    nginx::nginx,
    process::Process,
    requires::{require_root, why_not},
    service::{TcpService, Traffic},
    sweep::{remove_own, sweep},
    topology::{Topology, netns_test},
    wait::{Probe, wait_until},
};
