//! Deletes the network namespace of a pod and creates it again under the same name, as a container
//! runtime does with a sandbox.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use testbed::{Namespace, wait_until};

use crate::TIMEOUT;

/// Deletes the name of a namespace, and waits until the kernel has removed the namespace itself.
///
/// All processes and sockets of the test in that namespace must have ended.
pub fn delete_netns(node: &Namespace, pod: &Namespace) -> Result<()> {
    ip(&["netns", "delete", pod.name()])?;
    // The node's end of the link is removed with the namespace.
    let link = format!("to-{}:", pod.label());
    wait_until("the end of the namespace", TIMEOUT, || {
        let links =
            node.run(|| fs::read_to_string("/proc/thread-self/net/dev")).unwrap_or_default();
        !links.contains(&link)
    })
}

/// Creates a new namespace with the name and the IPv4 address of a deleted one.
pub fn recreate_netns(node: &Namespace, pod: &Namespace) -> Result<()> {
    ip(&["netns", "add", pod.name()])?;
    node.ip(&format!(
        "link add to-{label} type veth peer name eth0 netns {name}
         link set to-{label} up
         addr add {gateway}/24 dev to-{label}",
        label = pod.label(),
        name = pod.name(),
        gateway = pod.gateway4(),
    ))?;
    pod.ip(&format!(
        "link set lo up
         link set eth0 up
         addr add {}/24 dev eth0
         route add default via {}",
        pod.ip4(),
        pod.gateway4(),
    ))
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("run `ip`")?;
    ensure!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
