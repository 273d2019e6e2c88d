//! One node: containerd, kubelet, kube-proxy. Their settings are for tests: no eviction, no removal
//! of images that no registry has, and no files outside of the cluster's folder.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{
    Families, Part, Runtime, State, addresses::PODS, images, network::POD_BRIDGE, state::Node,
};
use crate::run;

/// Starts the node. `prefix` are the words that run a command in its namespaces.
pub(crate) fn start(
    state: &State,
    node: &Node,
    families: Families,
    prefix: &[String],
) -> Result<()> {
    for folder in ["cni", "kubelet", "logs", "certificates"] {
        let folder = node.folder.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    }
    make_cgroups(node)?;
    let name = node.name;
    let cni = state.write(format!("{name}/cni/10-bridge.conflist"), &cni(node, families))?;
    let runtime = Runtime::of(state);
    let settings = runtime.settings(node, cni.parent().unwrap_or(&cni));
    let settings = state.write(format!("{name}/containerd.toml"), &settings)?;
    let kubelet = state.write(format!("{name}/kubelet.yaml"), &kubelet(state, node, families))?;
    let proxy = state.write(format!("{name}/proxy.yaml"), &proxy(state, node, families))?;

    let part = |part: &str, command: &[String]| {
        let words = [prefix, command].concat();
        Part::start(state, &format!("{name}-{part}"), Command::new(&words[0]).args(&words[1..]))
    };
    let containerd = part("containerd", &runtime.command(state, &settings)?)?;
    containerd.wait_until("containerd to answer", || {
        run::output(Command::new("ctr").arg("--address").arg(node.socket()).arg("version"))
            .map(|_| true)
    })?;
    for archive in images::archives()? {
        images::import(node, &archive)?;
    }
    part(
        "kubelet",
        &[
            state.bin("kubelet").display().to_string(),
            format!("--config={}", kubelet.display()),
            format!("--kubeconfig={}", state.kubeconfig(name).display()),
            format!("--root-dir={}", node.folder.join("kubelet").display()),
            format!("--cert-dir={}", node.folder.join("certificates").display()),
            format!("--hostname-override={name}"),
            format!("--node-ip={}", comma(&node.ips(families))),
        ],
    )?;
    part(
        "proxy",
        &[state.bin("kube-proxy").display().to_string(), format!("--config={}", proxy.display())],
    )?;
    Ok(())
}

/// The folders that kubelet expects in each hierarchy.
fn make_cgroups(node: &Node) -> Result<()> {
    for root in cgroup_roots() {
        let mut path = root;
        for name in node.cgroup().split('/') {
            let parent = path.clone();
            path.push(name);
            if !path.is_dir() {
                fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
            }
            hand_down(&parent, &path)?;
        }
    }
    Ok(())
}

/// Gives a control group the settings of its parent.
fn hand_down(parent: &Path, group: &Path) -> Result<()> {
    // Only for version 2 alone; beside version 1 it controls none of these. kubelet wants those
    // that the machine has.
    let controllers = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    let controllers = controllers.split_whitespace().collect::<Vec<_>>();
    if controllers.contains(&"cpu") {
        for controller in ["cpu", "cpuset", "hugetlb", "memory", "pids"]
            .iter()
            .filter(|one| controllers.contains(one))
        {
            fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"))
                .with_context(|| format!("hand {controller} down from {}", parent.display()))?;
        }
    }
    // Version 1: a group without these settings takes no process.
    if parent.join("cgroup.clone_children").exists() {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(inherited) = fs::read(parent.join(file)) {
                let done = fs::write(group.join(file), inherited);
                done.with_context(|| format!("give {file} to {}", group.display()))?;
            }
        }
    }
    Ok(())
}

/// The mount points of the control group hierarchies: one with version 2 alone, several otherwise.
pub(crate) fn cgroup_roots() -> Vec<std::path::PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    if top.join("cgroup.controllers").exists() {
        return vec![top.to_owned()];
    }
    let folders = top.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    // Some are links to others, such as `cpu` to `cpu,cpuacct`.
    folders
        .filter(|path| path.is_dir() && !path.is_symlink() && path.join("cgroup.procs").exists())
        .collect()
}

fn cni(node: &Node, families: Families) -> String {
    let ranges =
        families.of(node.pods).into_iter().map(|pods| format!("[{{\"subnet\": \"{pods}\"}}]"));
    let routes =
        families.of(["0.0.0.0/0", "::/0"]).into_iter().map(|all| format!("{{\"dst\": \"{all}\"}}"));
    format!(
        r#"{{"cniVersion": "1.0.0", "name": "interceptor-cluster", "plugins": [
  {{"type": "bridge", "bridge": "{POD_BRIDGE}", "isGateway": true, "ipMasq": false, "hairpinMode": true,
    "ipam": {{"type": "host-local", "dataDir": "{folder}/addresses",
             "ranges": [{ranges}], "routes": [{routes}]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}
]}}
"#,
        folder = node.folder.display(),
        ranges = comma(&ranges.collect::<Vec<_>>()),
        routes = comma(&routes.collect::<Vec<_>>()),
    )
}

fn kubelet(state: &State, node: &Node, families: Families) -> String {
    let ips = node.ips(families);
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: \"{ip}\"
port: 10250
healthzBindAddress: 127.0.0.1
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {pki}/ca.crt}}
authorization: {{mode: Webhook}}
tlsCertFile: {pki}/{name}.crt
tlsPrivateKeyFile: {pki}/{name}.key
containerRuntimeEndpoint: unix://{socket}
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
podLogsDir: {folder}/logs
volumePluginDir: {folder}/volume-plugins
clusterDomain: cluster.local
failSwapOn: false
maxPods: 250
kubeAPIQPS: 200
kubeAPIBurst: 400
registryPullQPS: 0
oomScoreAdj: 0
maxOpenFiles: 20000
# A test machine may be full, and images can't be fetched again.
evictionHard:
  memory.available: 50Mi
  nodefs.available: 0%
  nodefs.inodesFree: 0%
  imagefs.available: 0%
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
imageMinimumGCAge: 24h
",
        ip = ips[0],
        name = node.name,
        pki = state.join("pki").display(),
        socket = node.socket().display(),
        cgroup = node.cgroup(),
        folder = node.folder.display(),
    )
}

fn proxy(state: &State, node: &Node, families: Families) -> String {
    let ips = node.ips(families);
    let whole = ips.iter().map(|ip| format!("\"{ip}/{}\"", if ip.is_ipv4() { 32 } else { 128 }));
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
bindAddress: \"{ip}\"
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
clusterCIDR: \"{pods}\"
hostnameOverride: {name}
nodePortAddresses: [{whole}]
oomScoreAdj: 0
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
clientConnection: {{kubeconfig: {kubeconfig}}}
",
        ip = ips[0],
        pods = families.list(PODS),
        whole = comma(&whole.collect::<Vec<_>>()),
        name = node.name,
        kubeconfig = state.kubeconfig("proxy").display(),
    )
}

fn comma<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
