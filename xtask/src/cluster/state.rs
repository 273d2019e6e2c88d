//! The folder of the cluster, outside of the tree. It exists exactly as long as the cluster does.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Families, addresses};

/// Environment variable: the folder with the binaries, passed from the user's process to that of
/// root.
pub(crate) const PREPARED: &str = "INTERCEPTOR_CLUSTER_BIN";
/// The same for the runtime, if it is not Debian's.
pub(crate) const PREPARED_RUNTIME: &str = "INTERCEPTOR_CLUSTER_RUNTIME";

/// The folder. It is on disk, since it holds images and containers, and `/run` is often small.
#[derive(Clone, Debug)]
pub(crate) struct State(PathBuf);

impl Default for State {
    fn default() -> Self {
        Self("/var/lib/interceptor-cluster".into())
    }
}

impl State {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// A file or folder inside.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// A program of the cluster. The folder is a link to the cache, so PATH is the same for all
    /// versions.
    pub(crate) fn bin(&self, program: &str) -> PathBuf {
        self.join("bin").join(program)
    }

    pub(crate) fn kubeconfig(&self, who: &str) -> PathBuf {
        self.join(format!("pki/{who}.kubeconfig"))
    }

    /// kubectl's cache, instead of one in the user's home.
    pub(crate) fn kube_cache(&self) -> PathBuf {
        self.join("kube-cache")
    }

    /// Writes a file inside, with the folders above it.
    pub(crate) fn write(&self, name: impl AsRef<Path>, content: &str) -> Result<PathBuf> {
        let path = self.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// The nodes that were started.
    pub(crate) fn nodes(&self) -> Result<Vec<Node>> {
        let all = [Node::first(self), Node::second(self)];
        let started = all.into_iter().filter(|node| node.folder.is_dir()).collect::<Vec<_>>();
        anyhow::ensure!(
            !started.is_empty(),
            "there is no cluster; `cargo xtask cluster up` starts one"
        );
        Ok(started)
    }
}

/// One node: its name, and the paths and addresses that it alone has.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) ip: Ipv4Addr,
    pub(crate) ip6: Ipv6Addr,
    /// The networks of its pods.
    pub(crate) pods: [&'static str; 2],
    pub(crate) folder: PathBuf,
}

impl Node {
    pub(crate) fn first(state: &State) -> Self {
        Self {
            name: "node1",
            ip: addresses::FIRST_NODE,
            ip6: addresses::FIRST_NODE6,
            pods: addresses::FIRST_PODS,
            folder: state.join("node1"),
        }
    }

    pub(crate) fn second(state: &State) -> Self {
        Self {
            name: "node2",
            ip: addresses::SECOND_NODE,
            ip6: addresses::SECOND_NODE6,
            pods: addresses::SECOND_PODS,
            folder: state.join("node2"),
        }
    }

    /// Its addresses. Kubernetes and the node's pods use the first as the main one: IPv6 on the
    /// second node, so that tests have both kinds.
    pub(crate) fn ips(&self, families: Families) -> Vec<IpAddr> {
        let mut ips = families.of([self.ip.into(), self.ip6.into()]);
        if self.name == "node2" {
            ips.reverse();
        }
        ips
    }

    /// The networks of its pods, each with the next hop: the node's own address.
    pub(crate) fn routes(&self, families: Families) -> Vec<(&'static str, IpAddr)> {
        let [pods, pods6] = self.pods;
        families.of([(pods, self.ip.into()), (pods6, self.ip6.into())])
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("containerd.sock")
    }

    /// The control group of its pods, below each hierarchy's root.
    pub(crate) fn cgroup(&self) -> String {
        format!("interceptor-cluster/{}", self.name)
    }
}
