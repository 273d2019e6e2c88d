//! The namespaces of a run, the servers in them, and how a load is started from the client's.
//!
//! ```text
//!   client ── node (router; the daemon runs here) ── laptop   serve :3000
//!                │
//!                ├── web    serve :8080 and :8081, haproxy :9001 while it is measured
//!                └── peer   haproxy :9001 behind an iptables REDIRECT of :8080
//! ```
//!
//! The rule of iptables has a pod of its own: it switches on connection tracking, which stays on for the whole
//! namespace and would slow down every other case.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use testbed::{Daemon, Namespace, Process, Topology};

use super::cases::{Case, Middle, Path};
use super::process;
use crate::cpus;
use crate::load;

/// Who answered, as the servers' numbers say.
pub(crate) const APP: u8 = 1;
pub(crate) const LAPTOP: u8 = 2;
pub(crate) const OTHER_PORT: u8 = 3;

const REDIRECTED_PORT: u16 = 8080;
const BYSTANDER_PORT: u16 = 8081;
const LAPTOP_PORT: u16 = 3000;
const HAPROXY_PORT: u16 = 9001;

/// How long a program may take to start.
const START: Duration = Duration::from_secs(10);

/// Everything that stands for the whole run.
pub(crate) struct Ground {
    servers: Vec<Process>,
    client: Namespace,
    web: Namespace,
    peer: Namespace,
    laptop: Namespace,
    topology: Topology,
}

/// What stands in the client's way for one case.
pub(crate) enum Relay {
    Nothing,
    Haproxy(Process),
    Daemon(Daemon),
}

impl Relay {
    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Nothing => None,
            Self::Haproxy(process) => Some(process.pid()),
            Self::Daemon(daemon) => Some(daemon.pid()),
        }
    }
}

impl Ground {
    pub(crate) fn build() -> Result<Self> {
        let topology = Topology::new("bench steal")?;
        let (web, peer) = (topology.pod("web")?, topology.pod("peer")?);
        let (laptop, client) = (topology.host("laptop")?, topology.host("client")?);
        let mut ground = Self { servers: Vec::new(), client, web, peer, laptop, topology };
        ground.serve(&ground.web.clone(), REDIRECTED_PORT, APP)?;
        ground.serve(&ground.web.clone(), BYSTANDER_PORT, OTHER_PORT)?;
        ground.serve(&ground.laptop.clone(), LAPTOP_PORT, LAPTOP)?;
        Ok(ground)
    }

    fn serve(&mut self, netns: &Namespace, port: u16, id: u8) -> Result<()> {
        let mut command = netns.command(std::env::current_exe()?);
        command.args(["serve", "--listen", &format!("0.0.0.0:{port}"), "--id", &id.to_string()]);
        let mut server = netns.spawn(&mut command)?;
        server.wait_for_port(port, START)?;
        self.servers.push(server);
        Ok(())
    }

    /// The iptables rule of the peer, for the whole run.
    pub(crate) fn redirect_peer(&self) -> Result<()> {
        let mut iptables = self.peer.command("iptables");
        iptables.args(["--wait", "--table", "nat", "--append", "PREROUTING", "--protocol", "tcp"]);
        iptables.args(["--dport", &REDIRECTED_PORT.to_string()]);
        iptables.args(["--jump", "REDIRECT", "--to-ports", &HAPROXY_PORT.to_string()]);
        let output = iptables
            .output()
            .context("starting iptables; `cargo xtask setup bench` installs it")?;
        ensure!(
            output.status.success(),
            "iptables: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Starts what stands in the way in `case`, and returns when it works.
    pub(crate) fn start(&self, case: Case) -> Result<Relay> {
        let relay = match case.middle() {
            Middle::Nothing => Relay::Nothing,
            Middle::Haproxy { threads, redirect } => {
                Relay::Haproxy(self.haproxy(threads, redirect)?)
            }
            Middle::Daemon => Relay::Daemon(self.daemon(&self.armed())?),
        };
        if let Relay::Daemon(daemon) = &relay {
            daemon.wait_active(self.web.label())?;
        }
        self.check(case)?;
        Ok(relay)
    }

    fn haproxy(&self, threads: usize, redirect: bool) -> Result<Process> {
        let netns = if redirect { &self.peer } else { &self.web };
        let config = self.topology.dir().join(format!("haproxy-{threads}.cfg"));
        fs::write(&config, haproxy_config(threads, self.laptop.ip4()))?;
        let mut command = netns.command("haproxy");
        // `-db`: one process, in the foreground.
        command.arg("-db").arg("-f").arg(&config);
        let mut haproxy =
            netns.spawn(&mut command).context("`cargo xtask setup bench` installs haproxy")?;
        haproxy.wait_for_port(HAPROXY_PORT, START)?;
        Ok(haproxy)
    }

    /// A daemon with these workloads, once its admin endpoint answers.
    pub(crate) fn daemon(&self, workloads: &str) -> Result<Daemon> {
        Daemon::start(&self.topology, workloads, &[])
    }

    /// Workloads: the pod's port goes to the laptop.
    pub(crate) fn armed(&self) -> String {
        testbed::workload(&self.web, &self.rule())
    }

    /// Workloads: the pod without a rule.
    pub(crate) fn disarmed(&self) -> String {
        format!(
            "workloads:\n  - name: {}\n    netns: {}\n",
            self.web.label(),
            self.web.netns_path().display()
        )
    }

    /// Workloads: `count` more pods, made here, and the same rule for each.
    pub(crate) fn many(&self, count: usize) -> Result<String> {
        let mut text = String::from("workloads:\n");
        for number in 0..count {
            let pod = self.topology.pod(&format!("w{number}"))?;
            let one = testbed::workload(&pod, &self.rule());
            text.push_str(one.strip_prefix("workloads:\n").unwrap_or(&one));
        }
        Ok(text)
    }

    fn rule(&self) -> String {
        format!("{REDIRECTED_PORT} -> {}:{LAPTOP_PORT}", self.laptop.ip4())
    }

    /// Where the client connects to, and who must answer.
    pub(crate) fn path(&self, path: Path) -> (SocketAddr, u8) {
        let (ip, port, id) = match path {
            Path::Laptop => (self.laptop.ip4(), LAPTOP_PORT, LAPTOP),
            Path::Haproxy => (self.web.ip4(), HAPROXY_PORT, LAPTOP),
            Path::Redirected => (self.web.ip4(), REDIRECTED_PORT, LAPTOP),
            Path::RedirectedByIptables => (self.peer.ip4(), REDIRECTED_PORT, LAPTOP),
            Path::Bystander => (self.web.ip4(), BYSTANDER_PORT, OTHER_PORT),
        };
        ((ip, port).into(), id)
    }

    /// One call, to be sure that the path leads where the case says. Also: who answers at all.
    fn check(&self, case: Case) -> Result<()> {
        let (to, id) = self.path(case.path());
        let call = || self.client.run(|| load::call(to)).map_err(|error| error.to_string());
        let right = || {
            call().and_then(|who| {
                if who == id { Ok(()) } else { Err(format!("{who} answered, not {id}")) }
            })
        };
        testbed::wait_until(&format!("{} to lead to server {id}", case.name()), START, right)
    }

    /// Runs a load in the client's namespace and reads its report.
    pub(crate) fn load<T: DeserializeOwned>(&self, args: &[&str]) -> Result<T> {
        let mut command = self.load_command(args)?;
        let output = command.stderr(Stdio::piped()).output().context("starting a load")?;
        if !output.status.success() {
            bail!("load {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("the report of load {}", args.join(" ")))
    }

    /// A load that stays until its stdin closes.
    pub(crate) fn spawn_load(&self, args: &[&str]) -> Result<Child> {
        let mut command = self.load_command(args)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting a load")
    }

    fn load_command(&self, args: &[&str]) -> Result<Command> {
        let mut command = self.client.command(std::env::current_exe()?);
        command.arg("load").args(args);
        Ok(command)
    }

    /// Runs `body` on a thread in the client's namespace.
    pub(crate) fn in_client<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        self.client.run(body)
    }

    /// CPU seconds of all servers so far.
    pub(crate) fn servers_cpu(&self) -> Result<f64> {
        self.servers.iter().map(|server| process::cpu_seconds(server.pid())).sum()
    }

    /// Keeps the servers and the relay on these CPUs.
    pub(crate) fn pin(&self, relay: &Relay, cpus: &[usize]) -> Result<()> {
        let servers = self.servers.iter().map(Process::pid);
        servers.chain(relay.pid()).try_for_each(|pid| cpus::pin_process(pid, cpus))
    }
}

/// haproxy at its best on this path: no logs, time limits that never end a test, and buffers as large as those
/// of the daemon, which give it half as much throughput again as its default of 16 KiB. Splicing was tried and
/// is not better all in all (bench/README.md).
fn haproxy_config(threads: usize, laptop: Ipv4Addr) -> String {
    format!(
        "global\n  maxconn 9000\n  nbthread {threads}\n  tune.bufsize 262144\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen steal\n  bind 0.0.0.0:{HAPROXY_PORT}\n  server laptop {laptop}:{LAPTOP_PORT}\n"
    )
}
