//! Which connections from inside a pod belong to its `exec` probes: real processes in cgroups of
//! version 2, and their sockets in a network namespace.

#![forbid(unsafe_code)]

use std::{
    fs,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use interceptor::{
    config::workloads::{CheckedContainer, ContainerId, ExecCheck, ExecChecks},
    datapath::{caller::cgroup::CgroupRoot, containers::PodCgroup},
    netns::{HomeNetns, Netns},
    relay::{
        addr::{ClientAddr, OrigDst},
        checks::CheckFinder,
    },
};
use parking_lot::Mutex;
use testbed::{Cgroup, Namespace, netns_test, wait_until};

/// A pod: its network namespace with a server, and its cgroup.
struct Pod {
    netns: Namespace,
    listener: TcpListener,
    containers: Vec<PathBuf>,
    cgroup: Cgroup,
    uid: String,
}

/// A connection to the server. The client lives as long as this.
struct Call {
    client: Child,
    stream: TcpStream,
}

impl Pod {
    fn new(netns: Namespace) -> Result<Self> {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8080));
        let listener = netns.run(|| TcpListener::bind(any))?;
        // Tests run side by side, and each has a pod of its own.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let uid = format!("2f7a3c1e-0b1d-4e55-9a51-{number:012}");
        let cgroup = Cgroup::new(&format!("kubepods-pod{uid}"))?;
        Ok(Self { netns, listener, containers: Vec::new(), cgroup, uid })
    }

    /// Starts a container: makes its cgroup. Returns its id.
    fn start(&mut self, digit: &str) -> Result<ContainerId> {
        let id = ContainerId::new(&format!("containerd://{}", digit.repeat(64)));
        let id = id.context("an id")?;
        self.make(&format!("cri-containerd-{}.scope", id.as_str()))?;
        Ok(id)
    }

    fn make(&mut self, path: &str) -> Result<()> {
        let path = self.cgroup.path().join(path);
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        self.containers.push(path);
        Ok(())
    }

    /// Ends the container that was started last.
    fn stop_last(&mut self) -> Result<()> {
        let path = self.containers.pop().context("no container")?;
        wait_until("an empty cgroup", Duration::from_secs(5), || fs::remove_dir(&path))
    }

    /// A process in the cgroup at `path` connects to the server at `ip`.
    fn call(&self, path: &Path, ip: IpAddr) -> Result<Call> {
        let script = "echo $$ > \"$0/cgroup.procs\" && exec 3<>\"/dev/tcp/$1/8080\" && read -u 3";
        let mut command: Command = self.netns.command("bash");
        command.args(["-c", script]).arg(path).arg(ip.to_string()).stdin(Stdio::null());
        let client = command.spawn().context("start bash")?;
        let (stream, _) = self.listener.accept()?;
        Ok(Call { client, stream })
    }

    fn finder(&self, checks: &ExecChecks) -> Result<CheckFinder> {
        let home = HomeNetns::capture()?;
        let diag = Netns::open(self.netns.netns_path(), home)?.sock_diag()?;
        let ids: Vec<_> = checks.ids().collect();
        let root = CgroupRoot::find()?;
        let pod = PodCgroup::find(&root.path, &self.uid, &ids).context("the pod's cgroup")?;
        Ok(CheckFinder::new(checks.clone(), pod, Arc::new(Mutex::new(diag))))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        while !self.containers.is_empty() && self.stop_last().is_ok() {}
    }
}

impl Call {
    fn is_check(&self, finder: &CheckFinder) -> Result<bool> {
        let (client, original) = (self.stream.peer_addr()?, self.stream.local_addr()?);
        Ok(finder.is_check(ClientAddr(client), OrigDst(original)))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

fn container(name: &str, id: &ContainerId, checks: &[ExecCheck]) -> CheckedContainer {
    let (name, checks) = (name.into(), checks.to_vec());
    CheckedContainer { name, id: Some(id.clone()), checks, is_spared: true }
}

fn run(body: impl FnOnce(Pod) -> Result<()>) {
    netns_test("exec-checks", |t| body(Pod::new(t.pod("web")?)?));
}

#[test]
fn a_probe_is_told_from_a_sidecar_at_every_address_of_the_pod() {
    run(|mut pod| {
        let web = pod.start("a")?;
        let sidecar = pod.start("b")?;
        // A container may make cgroups below its own.
        pod.make(&format!("cri-containerd-{}.scope/below", web.as_str()))?;
        let checks = ExecChecks {
            containers: vec![container("web", &web, &[ExecCheck::Liveness])],
            others: vec![sidecar],
        };
        let finder = pod.finder(&checks)?;
        let ips = [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
            pod.netns.ip4().into(),
            pod.netns.ip6().into(),
        ];
        for ip in ips {
            for (container, is_check) in [(0, true), (1, false), (2, true)] {
                let call = pod.call(&pod.containers[container], ip)?;
                // The second answer is remembered.
                for _ in 0..2 {
                    assert_eq!(call.is_check(&finder)?, is_check, "{ip}, container {container}");
                }
            }
        }
        // `kubectl port-forward`: a process of the node.
        let forward = pod.call(&pod.cgroup.path().with_file_name(""), ips[0])?;
        assert!(!forward.is_check(&finder)?);
        Ok(())
    });
}

#[test]
fn a_restarted_container_is_recognised_before_its_new_id_is_reported() {
    run(|mut pod| {
        let sidecar = pod.start("b")?;
        let old = pod.start("a")?;
        let checks = ExecChecks {
            containers: vec![container("web", &old, &[ExecCheck::PostStart])],
            others: vec![sidecar],
        };
        let finder = pod.finder(&checks)?;
        let localhost = IpAddr::from(Ipv4Addr::LOCALHOST);
        // While the container runs, another new one is not its next start: `kubectl debug`.
        pod.start("d")?;
        assert!(!pod.call(&pod.containers[2], localhost)?.is_check(&finder)?);
        pod.stop_last()?;

        pod.stop_last()?;
        pod.start("c")?;
        assert!(pod.call(&pod.containers[1], localhost)?.is_check(&finder)?);
        assert!(!pod.call(&pod.containers[0], localhost)?.is_check(&finder)?);
        Ok(())
    });
}

#[test]
fn asking_the_kernel_takes_microseconds() {
    run(|mut pod| {
        let web = pod.start("a")?;
        let containers = vec![container("web", &web, &[ExecCheck::Liveness])];
        let finder = pod.finder(&ExecChecks { containers, others: Vec::new() })?;
        let call = pod.call(&pod.containers[0], Ipv4Addr::LOCALHOST.into())?;
        let first = Instant::now();
        assert!(call.is_check(&finder)?);
        let first = first.elapsed();
        let mut times = Vec::new();
        for _ in 0..2000 {
            let begin = Instant::now();
            assert!(call.is_check(&finder)?);
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        writeln!(io::stderr(), "first {first:?}, then median {median:?}, 99 % {p99:?}")?;
        assert!(median < Duration::from_millis(1), "{median:?}");
        Ok(())
    });
}
