//! Another Kubernetes on this machine. It and ours would take folders, chains of iptables and addresses from each other, so
//! ours does not begin.

use std::{
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};

/// Where the parts of a Kubernetes listen, ours among them.
const PORTS: [(u16, &str); 6] = [
    (6443, "an API server"),
    (10250, "a kubelet"),
    (10248, "a kubelet"),
    (10256, "a kube-proxy"),
    (10257, "a controller manager"),
    (10259, "a scheduler"),
];
/// Nobody on this machine takes longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Refuses to go on beside one.
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
        "another Kubernetes seems to run on this machine, since somebody answers at {}; end it first: this one would share its \
         folders and rules, and break both",
        found.join(", ")
    );
    Ok(())
}
