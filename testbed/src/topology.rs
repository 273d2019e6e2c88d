//! A node, its pods and the hosts around it, each a network namespace.
//!
//! ```text
//!   pod "web"                 node (routes)                  host "laptop"
//!   eth0 10.99.1.2    ─────   to-web     10.99.1.1
//!        fd00:99:1::2                    fd00:99:1::1
//!                             to-laptop  10.99.2.1    ─────   eth0 10.99.2.2
//!                             lo         10.99.0.1
//! ```

use std::{
    env, fs,
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use parking_lot::{Mutex, MutexGuard};

use crate::{
    ip,
    namespace::{Addresses, Namespace},
    process::Process,
    requires, sweep, users, wait_until,
};

/// A node with its pods and hosts. Dropping it removes all of them.
#[derive(Debug)]
pub struct Topology {
    /// The prefix of every name of this topology: `ic<pid>x<number>`.
    prefix: String,
    title: String,
    dir: PathBuf,
    node: Namespace,
    hosts: Mutex<Vec<Namespace>>,
}

/// Runs `body` in a new topology. An error of `body` fails the test before the topology is removed,
/// so that the logs are printed.
///
/// On a machine that cannot run such a test it prints the reason and returns; in CI it fails.
pub fn netns_test(title: &str, body: impl FnOnce(&Topology) -> Result<()>) {
    let Some(()) = requires::require_root() else { return };
    let topology = Topology::new(title).unwrap_or_else(|error| panic!("{title}: {error:#}"));
    if let Err(error) = body(&topology) {
        panic!("{title}: {error:?}");
    }
}

impl Topology {
    /// Creates the node; pods and hosts are added one by one. `title` names the topology in
    /// messages.
    pub fn new(title: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        sweep::sweep_once();

        let prefix = format!("ic{}x{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = env::temp_dir().join(&prefix);
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let addresses = Addresses {
            ip4: Ipv4Addr::new(10, 99, 0, 1),
            ip6: Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 1),
            gateway4: Ipv4Addr::new(10, 99, 0, 1),
            gateway6: Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 1),
        };
        let node = Namespace::new("node", &prefix, &dir, addresses);
        // From here on, Drop removes everything that exists.
        let topology = Self { prefix, title: title.to_owned(), dir, node, hosts: Mutex::default() };

        let node = &topology.node;
        create(node)?;
        node.sysctl("net/ipv4/ip_forward", "1")?;
        node.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        node.ip(&format!(
            "link set lo up
             addr add {}/32 dev lo
             addr add {}/128 dev lo",
            node.ip4(),
            node.ip6(),
        ))?;
        Ok(topology)
    }

    /// Adds a pod to the node.
    pub fn pod(&self, name: &str) -> Result<Namespace> {
        self.host(name)
    }

    /// Adds a pod with a user namespace of its own, as kubelets create them for `hostUsers: false`.
    /// Its root has no rights outside, and its network namespace belongs to that user namespace.
    /// Also returns a process inside of both.
    pub fn pod_with_own_users(&self, name: &str) -> Result<(Namespace, Process)> {
        let mut sandbox = None;
        let pod = self.add(name, |netns| {
            sandbox = Some(users::create(netns)?);
            Ok(())
        })?;
        Ok((pod, sandbox.context("a pod without a process")?))
    }

    /// Adds a host outside of the node: a laptop, a client. On the network it is like a pod.
    pub fn host(&self, name: &str) -> Result<Namespace> {
        self.add(name, create)
    }

    fn add(&self, name: &str, create: impl FnOnce(&Namespace) -> Result<()>) -> Result<Namespace> {
        // An interface of the node is named after the host, and its name may have 15 characters.
        ensure!(
            (1..=12).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "the name {name:?} of a namespace must be 1 to 12 letters, digits or '-'",
        );
        let mut hosts = self.hosts();
        ensure!(
            name != "node" && hosts.iter().all(|host| host.label() != name),
            "the topology has a {name:?} already"
        );
        let number = u8::try_from(hosts.len() + 1).context("a topology has at most 255 hosts")?;
        let net6 = |last| Ipv6Addr::new(0xfd00, 0x99, number.into(), 0, 0, 0, 0, last);
        let addresses = Addresses {
            ip4: Ipv4Addr::new(10, 99, number, 2),
            ip6: net6(2),
            gateway4: Ipv4Addr::new(10, 99, number, 1),
            gateway6: net6(1),
        };
        let host = Namespace::new(name, &self.prefix, &self.dir, addresses);
        hosts.push(host.clone());
        drop(hosts);

        let Addresses { ip4, ip6, gateway4, gateway6 } = addresses;
        create(&host)?;
        // Run inside the node, so that the machine's own namespace never has these interfaces.
        // addrgenmode none: no IPv6 addresses of the kernel's own, which are usable only after a
        // second or two. nodad: ours are usable at once.
        self.node.ip(&format!(
            "link add to-{name} type veth peer name eth0 netns {netns}
             link set to-{name} addrgenmode none up
             addr add {gateway4}/24 dev to-{name}
             addr add {gateway6}/64 dev to-{name} nodad
             addr add fe80::1/64 dev to-{name} nodad",
            netns = host.name(),
        ))?;
        host.ip(&format!(
            "link set lo up
             link set eth0 addrgenmode none up
             addr add {ip4}/24 dev eth0
             addr add {ip6}/64 dev eth0 nodad
             addr add fe80::2/64 dev eth0 nodad
             route add default via {gateway4}
             route add default via {gateway6}",
        ))?;
        // A load opens more connections than the default range has ports.
        host.sysctl("net/ipv4/ip_local_port_range", "10240 65535")?;
        host.sysctl("net/ipv4/tcp_tw_reuse", "1")?;
        self.node.run(|| wait_for_link(&format!("to-{name}"), 1))?;
        host.run(|| wait_for_link("eth0", 2))?;
        Ok(host)
    }

    /// The node. It routes between all pods and hosts, and the daemon runs in it.
    pub fn node(&self) -> &Namespace {
        &self.node
    }

    /// A folder for the files of this topology, removed with it. A failed test prints its `*.log`
    /// files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Commands that enter each namespace, for printing.
    pub fn how_to_enter(&self) -> String {
        self.namespaces()
            .iter()
            .map(|ns| {
                format!(
                    "  {:12} {:11} nsenter --net={}\n",
                    ns.label(),
                    ns.ip4(),
                    ns.netns_path().display()
                )
            })
            .collect()
    }

    fn namespaces(&self) -> Vec<Namespace> {
        let mut all = vec![self.node.clone()];
        all.extend(self.hosts().iter().cloned());
        all
    }

    fn hosts(&self) -> MutexGuard<'_, Vec<Namespace>> {
        self.hosts.lock()
    }

    fn show_logs(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "log")
                && let Ok(bytes) = fs::read(&path)
            {
                let text = String::from_utf8_lossy(&bytes);
                let lines = text.lines().collect::<Vec<_>>();
                let tail = lines[lines.len().saturating_sub(200)..].join("\n");
                eprintln!("--- {} (the last lines)\n{tail}", path.display());
            }
        }
    }
}

fn create(netns: &Namespace) -> Result<()> {
    ip::batch(&mut Command::new("ip"), &format!("netns add {}", netns.name()))
}

/// Waits until a link carries packets and its address that ends in `last` answers its neighbours.
///
/// The kernel does both in the background. A packet that comes too early is lost, and the sender
/// repeats it only after a second.
fn wait_for_link(interface: &str, last: u8) -> Result<()> {
    // The kernel's last step is to join the multicast group by which neighbours look for the
    // address.
    let group = format!("ff0200000000000000000001ff0000{last:02x}");
    wait_until(&format!("link {interface} to be ready"), Duration::from_secs(5), || {
        let groups = fs::read_to_string("/proc/thread-self/net/igmp6").unwrap_or_default();
        groups
            .lines()
            .any(|line| line.contains(&group) && line.split_whitespace().nth(1) == Some(interface))
    })
}

impl Drop for Topology {
    fn drop(&mut self) {
        let failed = thread::panicking();
        let keep = env::var_os("INTERCEPTOR_KEEP").is_some_and(|value| value == "1");
        if failed {
            self.show_logs();
        }
        if failed || keep {
            eprintln!(
                "--- topology {:?}; to enter its namespaces:\n{}",
                self.title,
                self.how_to_enter()
            );
        }
        if keep {
            // The sweep of later runs skips a topology with this file.
            let _ = fs::write(self.dir.join("kept"), "");
            let names = self.namespaces().iter().map(|ns| ns.name().to_owned()).collect::<Vec<_>>();
            eprintln!(
                "--- kept; to remove it:\n  for ns in {}; do ip netns pids $ns | xargs -r kill; \
                 ip netns delete $ns; done; rm -r {}",
                names.join(" "),
                self.dir.display(),
            );
            return;
        }
        if failed {
            eprintln!("(it is removed now; INTERCEPTOR_KEEP=1 keeps it)");
        }
        sweep::remove(&self.prefix);
    }
}
