//! The network between the nodes: a bridge with the first node's address, and the laptop on it. The
//! second node is a network and a mount namespace. A `dummy` link would do for one node, but not
//! every kernel has it, and kubelet refuses a loopback address.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Families, Part, State,
    addresses::{FIRST_NODE, FIRST_NODE6, LAPTOP, LAPTOP_PORT, LAPTOP6, PODS},
    before, images,
    state::Node,
};
use crate::run;

/// Maximum 15 characters.
pub(crate) const BRIDGE: &str = "ic-nodes";
/// The CNI plugin makes it on each node.
pub(crate) const POD_BRIDGE: &str = "ic-pods";
pub(crate) const LAPTOP_LINK: &str = "ic-laptop";
pub(crate) const NODE_LINK: &str = "ic-node2";

/// Named namespaces, below `/run/netns`.
pub(crate) const LAPTOP_NETNS: &str = "interceptor-laptop";
pub(crate) const NODE_NETNS: &str = "interceptor-node2";

/// Marks our iptables rules.
pub(crate) const COMMENT: &str = "interceptor-cluster";

/// The bridge, and routing between nodes, pods and laptop.
pub(crate) fn bridge(families: Families) -> Result<()> {
    let netns = Path::new("/run/netns");
    fs::create_dir_all(netns).context("make /run/netns")?;
    if !before::is_shared_mount("/run/netns") {
        // Otherwise the daemon's pod would not see the namespaces of pods that start after it.
        run::output(Command::new("mount").args(["--bind", "/run/netns", "/run/netns"]))?;
        run::output(Command::new("mount").args(["--make-shared", "/run/netns"]))?;
    }
    if !link_exists(BRIDGE) {
        ensure!(
            !has_address(),
            "this machine already has an address in the nodes' network: 10.99.0.0/24 or \
             fd3e:9c51:a7d2::/48"
        );
        ip(&format!("link add {BRIDGE} type bridge"))?;
        for address in families.of(with_length(FIRST_NODE, FIRST_NODE6)) {
            ip(&format!("addr add {address} dev {BRIDGE}"))?;
        }
        ip(&format!("link set {BRIDGE} up"))?;
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("enable forwarding")?;
    if families.has_ipv6() {
        forward_ipv6()?;
    }
    // Docker, where it runs, makes the machine forward only its own packets.
    for (program, pods) in families.of([("iptables", PODS[0]), ("ip6tables", PODS[1])]) {
        for direction in ["-s", "-d"] {
            let rule =
                ["FORWARD", direction, pods, "-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"];
            let there = iptables(program, "-C", &rule).is_ok();
            if !there {
                iptables(program, "-I", &rule)?;
            }
        }
    }
    Ok(())
}

/// A machine that forwards drops the default routes of router advertisements, and accepts no new
/// ones. This setting makes its links keep accepting them.
fn forward_ipv6() -> Result<()> {
    let set = |key: &str, value: &str| {
        fs::write(Path::new("/proc/sys").join(key), value)
            .with_context(|| format!("set {key} to {value}"))
    };
    let takes = |key: &String| {
        fs::read_to_string(Path::new("/proc/sys").join(key)).is_ok_and(|value| value.trim() == "1")
    };
    before::router_advertisements()
        .iter()
        .filter(|key| takes(key))
        .try_for_each(|key| set(key, "2"))?;
    set("net/ipv6/conf/all/forwarding", "1")
}

/// A host in the nodes' network, with the server that a developer would run.
pub(crate) fn laptop(state: &State, families: Families) -> Result<()> {
    if !netns_exists(LAPTOP_NETNS) {
        ip(&format!("netns add {LAPTOP_NETNS}"))?;
        join(LAPTOP_NETNS, LAPTOP_LINK, &families.of(with_length(LAPTOP, LAPTOP6)))?;
    }
    let mut serve = Command::new("nsenter");
    serve.arg(format!("--net=/run/netns/{LAPTOP_NETNS}")).args(["env", "NAME=laptop"]);
    serve.arg(images::guest()?).args(["serve", &LAPTOP_PORT.to_string()]);
    Part::start(state, "laptop", &serve).map(drop)
}

/// Makes the namespaces of the second node. Returns the words that run a command inside.
pub(crate) fn second_node(state: &State, node: &Node, families: Families) -> Result<Vec<String>> {
    if !netns_exists(NODE_NETNS) {
        ip(&format!("netns add {NODE_NETNS}"))?;
        join(NODE_NETNS, NODE_LINK, &families.of(with_length(node.ip, node.ip6)))?;
        for (pods, node) in Node::first(state).routes(families) {
            ip(&format!("-n {NODE_NETNS} route add {pods} via {node}"))?;
        }
        for (pods, node) in node.routes(families) {
            ip(&format!("route replace {pods} via {node}"))?;
        }
    }
    let mut keeper = Command::new("nsenter");
    // Mounts inside are not visible outside.
    keeper.arg(format!("--net=/run/netns/{NODE_NETNS}"));
    keeper.args(["unshare", "--mount", "--propagation", "slave", "sleep", "infinity"]);
    let keeper = Part::start(state, "node2-namespaces", &keeper)?;
    let own = || fs::read_link("/proc/self/ns/mnt").context("look at the own mount namespace");
    keeper.wait_until("the mount namespace of the second node", || {
        let pid = keeper.pid().context("it ended")?;
        let asleep = fs::read_to_string(format!("/proc/{pid}/comm"))?.trim() == "sleep";
        Ok(asleep && fs::read_link(format!("/proc/{pid}/ns/mnt"))? != own()?)
    })?;
    let pid = keeper.pid().context("the second node's namespaces have no process")?.to_string();
    let prefix = ["nsenter", "-t", &pid, "-n", "-m"].map(str::to_owned).to_vec();

    let inside = |script: &str| {
        run::output(Command::new(&prefix[0]).args(&prefix[1..]).args(["sh", "-ec", script]))
            .map(drop)
    };
    let netns = node.folder.join("netns");
    fs::create_dir_all(&netns).with_context(|| format!("make {}", netns.display()))?;
    let netns = netns.display();
    let forward_ipv6 =
        if families.has_ipv6() { "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding" } else { "" };
    inside(&format!(
        "[ \"$(stat -c %d:%i /run/netns)\" = \"$(stat -c %d:%i {netns})\" ] && exit 0
         mount --bind {netns} /run/netns
         mount --make-shared /run/netns
         echo 1 >/proc/sys/net/ipv4/ip_forward
         {forward_ipv6}"
    ))?;
    Ok(prefix)
}

/// Connects a namespace to the bridge.
fn join(netns: &str, link: &str, addresses: &[String]) -> Result<()> {
    ip(&format!("link add {link} type veth peer name eth0 netns {netns}"))?;
    ip(&format!("link set {link} master {BRIDGE} up"))?;
    for address in addresses {
        ip(&format!("-n {netns} addr add {address} dev eth0"))?;
    }
    ip(&format!("-n {netns} link set lo up"))?;
    ip(&format!("-n {netns} link set eth0 up"))?;
    ip(&format!("-n {netns} route add default via {FIRST_NODE}"))?;
    if addresses.len() > 1 {
        ip(&format!("-n {netns} -6 route add default via {FIRST_NODE6}"))?;
    }
    Ok(())
}

/// Addresses in the nodes' network, in the form of `ip addr add`.
fn with_length(v4: Ipv4Addr, v6: Ipv6Addr) -> [String; 2] {
    // The address is unique here, so the kernel can skip duplicate address detection, which takes a
    // second.
    [format!("{v4}/24"), format!("{v6}/64 nodad")]
}

fn link_exists(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

fn netns_exists(name: &str) -> bool {
    Path::new("/run/netns").join(name).exists()
}

fn has_address() -> bool {
    run::output(Command::new("ip").args(["-brief", "addr"]))
        .is_ok_and(|all| [" 10.99.0.", " fd3e:9c51:a7d2:"].iter().any(|ours| all.contains(ours)))
}

fn ip(words: &str) -> Result<()> {
    run::output(Command::new("ip").args(words.split(' '))).map(drop)
}

fn iptables(program: &str, what: &str, rule: &[&str]) -> Result<()> {
    run::output(Command::new(program).args(["-w", what]).args(rule)).map(drop)
}
