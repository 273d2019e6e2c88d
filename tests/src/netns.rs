//! A pod's sandbox that goes away, and is made anew under the same name, as a container runtime does.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use testbed::{Namespace, wait_until};

use crate::TIMEOUT;

/// Removes the name of a namespace, and waits until nothing keeps the namespace itself alive.
///
/// Whatever the test runs inside must have ended.
pub fn delete_netns(node: &Namespace, pod: &Namespace) -> Result<()> {
    ip(&["netns", "delete", pod.name()])?;
    // The other end of its link goes with it.
    let link = format!("to-{}:", pod.label());
    wait_until("the end of the namespace", TIMEOUT, || {
        let links =
            node.run(|| fs::read_to_string("/proc/thread-self/net/dev")).unwrap_or_default();
        !links.contains(&link)
    })
}

/// Makes a new namespace with the name and IPv4 address of one that was deleted.
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
