//! What lies between the nodes: a bridge with the first node's address, the laptop on it, and, as the second node, a
//! network and a mount namespace. A `dummy` link would be enough for one node, but not every kernel has it, and kubelet
//! wants no loopback address.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{
    Part, State,
    addresses::{FIRST_NODE, LAPTOP, LAPTOP_PORT, PODS, SECOND_NODE},
    before, images,
    state::Node,
};
use crate::run;

/// At most 15 characters.
pub(crate) const BRIDGE: &str = "ic-nodes";
/// Made by the CNI plugin on each node.
pub(crate) const POD_BRIDGE: &str = "ic-pods";
pub(crate) const LAPTOP_LINK: &str = "ic-laptop";
pub(crate) const NODE_LINK: &str = "ic-node2";

/// Named namespaces, below `/run/netns`.
pub(crate) const LAPTOP_NETNS: &str = "interceptor-laptop";
pub(crate) const NODE_NETNS: &str = "interceptor-node2";

/// Marks our rules of iptables.
pub(crate) const COMMENT: &str = "interceptor-cluster";

/// The bridge, and routing between nodes, pods and laptop.
pub(crate) fn bridge() -> Result<()> {
    let netns = Path::new("/run/netns");
    fs::create_dir_all(netns).context("make /run/netns")?;
    if !before::is_shared_mount("/run/netns") {
        // Else the daemon's pod would never see the namespaces of pods that come after it.
        run::output(Command::new("mount").args(["--bind", "/run/netns", "/run/netns"]))?;
        run::output(Command::new("mount").args(["--make-shared", "/run/netns"]))?;
    }
    if !link_exists(BRIDGE) {
        ensure!(
            !has_address(),
            "this machine has an address in 10.99.0.0/24 already, where the nodes should be"
        );
        ip(&format!("link add {BRIDGE} type bridge"))?;
        ip(&format!("addr add {FIRST_NODE}/24 dev {BRIDGE}"))?;
        ip(&format!("link set {BRIDGE} up"))?;
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("let the machine forward")?;
    // Docker, where it runs, forwards nothing but its own.
    for direction in ["-s", "-d"] {
        let rule = ["FORWARD", direction, PODS, "-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"];
        let there = iptables("-C", &rule).is_ok();
        if !there {
            iptables("-I", &rule)?;
        }
    }
    Ok(())
}

/// A host in the nodes' network, with the server that a developer would run.
pub(crate) fn laptop(state: &State) -> Result<()> {
    if !netns_exists(LAPTOP_NETNS) {
        ip(&format!("netns add {LAPTOP_NETNS}"))?;
        join(LAPTOP_NETNS, LAPTOP_LINK, &LAPTOP.to_string())?;
    }
    let mut serve = Command::new("nsenter");
    serve.arg(format!("--net=/run/netns/{LAPTOP_NETNS}")).args(["env", "NAME=laptop"]);
    serve.arg(images::guest()?).args(["serve", &LAPTOP_PORT.to_string()]);
    Part::start(state, "laptop", &serve).map(drop)
}

/// The namespaces of the second node; gives the words to put before a command that should run there.
pub(crate) fn second_node(state: &State, node: &Node) -> Result<Vec<String>> {
    if !netns_exists(NODE_NETNS) {
        ip(&format!("netns add {NODE_NETNS}"))?;
        join(NODE_NETNS, NODE_LINK, &SECOND_NODE.to_string())?;
        ip(&format!("-n {NODE_NETNS} route add {} via {FIRST_NODE}", Node::first(state).pods))?;
        ip(&format!("route replace {} via {SECOND_NODE}", node.pods))?;
    }
    let mut keeper = Command::new("nsenter");
    // What is mounted here is not seen outside.
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
        run::output(Command::new(&prefix[0]).args(&prefix[1..]).args(["sh", "-ec", script])).map(drop)
    };
    let netns = node.folder.join("netns");
    fs::create_dir_all(&netns).with_context(|| format!("make {}", netns.display()))?;
    let netns = netns.display();
    inside(&format!(
        "[ \"$(stat -c %d:%i /run/netns)\" = \"$(stat -c %d:%i {netns})\" ] && exit 0
         mount --bind {netns} /run/netns
         mount --make-shared /run/netns
         echo 1 >/proc/sys/net/ipv4/ip_forward"
    ))?;
    Ok(prefix)
}

/// Connects a namespace with the bridge.
fn join(netns: &str, link: &str, address: &str) -> Result<()> {
    ip(&format!("link add {link} type veth peer name eth0 netns {netns}"))?;
    ip(&format!("link set {link} master {BRIDGE} up"))?;
    ip(&format!("-n {netns} addr add {address}/24 dev eth0"))?;
    ip(&format!("-n {netns} link set lo up"))?;
    ip(&format!("-n {netns} link set eth0 up"))?;
    ip(&format!("-n {netns} route add default via {FIRST_NODE}"))
}

fn link_exists(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

fn netns_exists(name: &str) -> bool {
    Path::new("/run/netns").join(name).exists()
}

fn has_address() -> bool {
    run::output(Command::new("ip").args(["-4", "-brief", "addr"])).is_ok_and(|all| all.contains(" 10.99.0."))
}

fn ip(words: &str) -> Result<()> {
    run::output(Command::new("ip").args(words.split(' '))).map(drop)
}

fn iptables(what: &str, rule: &[&str]) -> Result<()> {
    run::output(Command::new("iptables").args(["-w", what]).args(rule)).map(drop)
}
