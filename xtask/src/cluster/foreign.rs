//! Detects another Kubernetes on this machine. Both would use the same folders, iptables chains and
//! addresses, so ours does not start.

use std::{
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};

/// The ports of the parts of a Kubernetes, ours among them.
const PORTS: [(u16, &str); 6] = [
    (6443, "an API server"),
    (10250, "a kubelet"),
    (10248, "a kubelet"),
    (10256, "a kube-proxy"),
    (10257, "a controller manager"),
    (10259, "a scheduler"),
];
/// Maximum time for a connection on this machine.
const PATIENCE: Duration = Duration::from_secs(1);

/// Refuses to start beside another Kubernetes.
pub(super) fn refuse() -> Result<()> {
    let answers =
        |port| TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), PATIENCE).is_ok();
    let found: Vec<_> = PORTS
        .into_iter()
        .filter(|(port, _)| answers(*port))
        .map(|(port, what)| format!("port {port} ({what}?)"))
        .collect();
    ensure!(
        found.is_empty(),
        "another Kubernetes seems to run on this machine, since a process listens at {}; stop it \
         first: both would use the same folders and rules, and break each other",
        found.join(", ")
    );
    Ok(())
}
