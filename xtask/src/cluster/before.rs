//! The state of the machine before the cluster changed anything. The removal compares with it, so
//! that it removes exactly what came with the cluster.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::State;
use crate::run;

/// Settings that xtask, kubelet or kube-proxy change.
const SYSCTLS: [&str; 11] = [
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/forwarding",
    "net/ipv4/conf/default/forwarding",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/forwarding",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
];

/// Folders with fixed names, where containerd, kubelet and the CNI plugins leave files.
pub(crate) const FOLDERS: [&str; 7] = [
    "/run/netns",
    "/run/containerd/s",
    "/var/lib/cni/cache",
    "/var/lib/cni/results",
    "/var/lib/kubelet/device-plugins",
    "/var/log/containers",
    "/var/log/pods",
];

const FILE: &str = "before";

/// Notes the state, once for each cluster.
pub(crate) fn note(state: &State) -> Result<()> {
    if state.join(FILE).exists() {
        return Ok(());
    }
    let mut lines = Vec::new();
    for key in SYSCTLS.map(str::to_owned).into_iter().chain(router_advertisements()) {
        // Some exist only with a kernel module that may load later. Those need no restoring.
        if let Ok(value) = fs::read_to_string(Path::new("/proc/sys").join(&key)) {
            lines.push(format!("sysctl {key} {}", value.trim()));
        }
    }
    for folder in FOLDERS {
        let mut path = Path::new(folder);
        while path.exists() && path != Path::new("/run") && path != Path::new("/var/log") {
            lines.push(format!("folder {}", path.display()));
            lines.extend(entries(path).iter().map(|entry| format!("entry {entry}")));
            let Some(parent) = path.parent() else { break };
            path = parent;
        }
    }
    if is_shared_mount("/run/netns") {
        lines.push("shared /run/netns".to_owned());
    }
    lines.extend(chains().into_iter().map(|chain| format!("chain {chain}")));
    state.write(FILE, &lines.join("\n")).map(drop)
}

/// The noted state.
#[derive(Debug)]
pub(crate) struct Before(BTreeSet<String>);

impl Before {
    /// `None` if nothing was noted.
    pub(crate) fn read(state: &State) -> Result<Option<Self>> {
        let file = state.join(FILE);
        if !file.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        Ok(Some(Self(text.lines().map(str::to_owned).collect())))
    }

    pub(crate) fn had_folder(&self, path: &Path) -> bool {
        self.0.contains(&format!("folder {}", path.display()))
    }

    pub(crate) fn had_entry(&self, path: &Path) -> bool {
        self.0.contains(&format!("entry {}", path.display()))
    }

    pub(crate) fn had_chain(&self, chain: &str) -> bool {
        self.0.contains(&format!("chain {chain}"))
    }

    pub(crate) fn had_shared_netns(&self) -> bool {
        self.0.contains("shared /run/netns")
    }

    /// Key and value.
    pub(crate) fn sysctls(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|line| line.strip_prefix("sysctl ")?.split_once(' '))
    }
}

/// The names of all chains, of both families and all tables.
fn chains() -> BTreeSet<String> {
    let mut chains = BTreeSet::new();
    for save in ["iptables-save", "ip6tables-save"] {
        let Some(save) = run::find(save) else { continue };
        let saved = run::output(&mut Command::new(save)).unwrap_or_default();
        let names = saved.lines().filter_map(|line| line.strip_prefix(':')?.split(' ').next());
        chains.extend(names.map(str::to_owned));
    }
    chains
}

/// The keys that decide whether the machine's links accept IPv6 router advertisements.
pub(crate) fn router_advertisements() -> Vec<String> {
    let links = entries(Path::new("/proc/sys/net/ipv6/conf"));
    let links = links.iter().filter_map(|link| link.rsplit('/').next());
    let own = links.filter(|link| !["all", "default", "lo"].contains(link));
    own.map(|link| format!("net/ipv6/conf/{link}/accept_ra")).collect()
}

/// The full paths in a folder.
pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}

/// Whether containers see what is mounted below this mount later on.
pub(crate) fn is_shared_mount(path: &str) -> bool {
    mounts().iter().any(|mount| mount.at == path && mount.shared)
}

pub(crate) struct Mount {
    pub(crate) at: String,
    shared: bool,
}

/// The mounts of the current namespace, in the order in which they were made.
pub(crate) fn mounts() -> Vec<Mount> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = table.lines().filter_map(|line| {
        let at = line.split(' ').nth(4)?.to_owned();
        Some(Mount { at, shared: line.contains(" shared:") })
    });
    mounts.collect()
}
