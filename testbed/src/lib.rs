//! Network namespaces with real sockets, for the demo, the tests and the benchmarks.
//!
//! A test builds a small cluster node out of network namespaces. It puts servers and clients into
//! the node, runs the daemon, and asserts what users would see: bytes, counters, status.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use testbed::{Daemon, Load, TcpService, Topology};
//! # fn main() -> anyhow::Result<()> {
//! let t = Topology::new("redirect")?;
//! let (pod, laptop, client) = (t.pod("web")?, t.host("laptop")?, t.host("client")?);
//! let _app = TcpService::tagged(&pod, (pod.ip4(), 8080), "app")?;
//! let _dev = TcpService::tagged(&laptop, (laptop.ip4(), 3000), "laptop")?;
//!
//! let rule = format!("8080 -> {}:3000", laptop.ip4());
//! let daemon = Daemon::start_active(&t, &pod, &rule)?;
//!
//! let load = Load::new(&client, (pod.ip4(), 8080)).start()?;
//! load.wait_for_tag("laptop", Duration::from_secs(2))?;
//! assert_eq!(load.stop().failures().len(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here touches the network namespace of the machine. Each [`Topology`] has a node of its
//! own, which routes between its pods and hosts. So every topology may use the same addresses, and
//! tests may run side by side. Everything is plain threads and blocking sockets: the test must not
//! share a runtime with the daemon that it tests.
//!
//! When a test panics, its topology prints the logs of its processes and how to enter its
//! namespaces. `INTERCEPTOR_KEEP=1` in the environment keeps the topology.

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
mod output;
mod process;
mod requires;
mod service;
mod sockets;
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
    http::read_message,
    inventory::{NetnsInventory, netns_inventory},
    load::{Call, Load, Report, RunningLoad},
    metrics::{Metrics, Sample},
    namespace::Namespace,
    nginx::{nginx, nginx_command, nginx_with},
    output::CommandOutput,
    process::{Process, rss_kib},
    requires::{require_root, why_not},
    service::{TcpService, Traffic},
    sockets::{TcpSocket, TcpState, tcp_sockets},
    sweep::{remove_own, sweep},
    topology::{Topology, netns_test},
    wait::{Probe, wait_until},
};
