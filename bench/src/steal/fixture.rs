//! The namespaces of a run, the servers in them, and the start of relays and loads.
//!
//! ```text
//!   client ── node (router, runs the daemon) ── laptop   serve :3000
//!                │
//!                ├── web    serve :8080 and :8081, haproxy :9001 (while a case measures it)
//!                └── peer   haproxy :9001 behind an iptables REDIRECT of :8080
//! ```
//!
//! The iptables rule has a pod of its own, because it enables connection tracking. That stays
//! enabled for the whole namespace and would slow down every other case.

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

/// The number of the app's server.
pub(crate) const APP: u8 = 1;
/// The number of the developer's server.
pub(crate) const LAPTOP: u8 = 2;
/// The number of the server on the pod's other port.
pub(crate) const OTHER_PORT: u8 = 3;

const REDIRECTED_PORT: u16 = 8080;
const BYSTANDER_PORT: u16 = 8081;
const LAPTOP_PORT: u16 = 3000;
const HAPROXY_PORT: u16 = 9001;

/// Maximum time for the start of a program.
const START: Duration = Duration::from_secs(10);

/// The namespaces and servers, which last for the whole run.
pub(crate) struct Fixture {
    servers: Vec<Process>,
    client: Namespace,
    web: Namespace,
    peer: Namespace,
    laptop: Namespace,
    topology: Topology,
}

/// The relay of one case, which stops when this is dropped.
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

impl Fixture {
    pub(crate) fn build() -> Result<Self> {
        let topology = Topology::new("bench steal")?;
        let (web, peer) = (topology.pod("web")?, topology.pod("peer")?);
        let (laptop, client) = (topology.host("laptop")?, topology.host("client")?);
        let mut fixture = Self { servers: Vec::new(), client, web, peer, laptop, topology };
        fixture.serve(&fixture.web.clone(), REDIRECTED_PORT, APP)?;
        fixture.serve(&fixture.web.clone(), BYSTANDER_PORT, OTHER_PORT)?;
        fixture.serve(&fixture.laptop.clone(), LAPTOP_PORT, LAPTOP)?;
        Ok(fixture)
    }

    fn serve(&mut self, netns: &Namespace, port: u16, id: u8) -> Result<()> {
        let mut command = netns.command(std::env::current_exe()?);
        command.args(["serve", "--listen", &format!("0.0.0.0:{port}"), "--id", &id.to_string()]);
        let mut server = netns.spawn(&mut command)?;
        server.wait_for_port(port, START)?;
        self.servers.push(server);
        Ok(())
    }

    /// Adds the iptables rule of the peer, which stays for the whole run.
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

    /// Starts the relay of `case`, and returns when the expected server answers.
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
        // `-db` runs one process in the foreground.
        command.arg("-db").arg("-f").arg(&config);
        let mut haproxy =
            netns.spawn(&mut command).context("`cargo xtask setup bench` installs haproxy")?;
        haproxy.wait_for_port(HAPROXY_PORT, START)?;
        Ok(haproxy)
    }

    /// Starts a daemon with these workloads, and returns when its admin endpoint answers.
    pub(crate) fn daemon(&self, workloads: &str) -> Result<Daemon> {
        Daemon::start(&self.topology, workloads, &[])
    }

    /// A workloads file in which the pod's port is redirected to the laptop.
    pub(crate) fn armed(&self) -> String {
        testbed::workload(&self.web, &self.rule())
    }

    /// A workloads file in which the pod has no rule.
    pub(crate) fn disarmed(&self) -> String {
        format!(
            "workloads:\n  - name: {}\n    netns: {}\n",
            self.web.label(),
            self.web.netns_path().display()
        )
    }

    /// Makes `count` more pods. Returns a workloads file with the same rule for each.
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

    /// The address that the client connects to, and the number of the server that must answer.
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

    /// Connects until the expected server answers, to check that the path is right.
    fn check(&self, case: Case) -> Result<()> {
        let (to, id) = self.path(case.path());
        let exchange = || self.client.run(|| load::exchange(to)).map_err(|error| error.to_string());
        let right = || {
            exchange().and_then(|who| {
                if who == id { Ok(()) } else { Err(format!("server {who} answered, not {id}")) }
            })
        };
        testbed::wait_until(&format!("{} to reach server {id}", case.name()), START, right)
    }

    /// Runs a load in the client's namespace, and parses its report.
    pub(crate) fn load<T: DeserializeOwned>(&self, args: &[&str]) -> Result<T> {
        let mut command = self.load_command(args)?;
        let output = command.stderr(Stdio::piped()).output().context("starting a load")?;
        if !output.status.success() {
            bail!("load {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("the report of load {}", args.join(" ")))
    }

    /// Starts a load that runs until its stdin closes.
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

    /// The CPU time of all servers so far, in seconds.
    pub(crate) fn servers_cpu(&self) -> Result<f64> {
        self.servers.iter().map(|server| process::cpu_seconds(server.pid())).sum()
    }

    /// Pins the servers and the relay to these CPUs.
    pub(crate) fn pin(&self, relay: &Relay, cpus: &[usize]) -> Result<()> {
        let servers = self.servers.iter().map(Process::pid);
        servers.chain(relay.pid()).try_for_each(|pid| cpus::pin_process(pid, cpus))
    }
}

/// The configuration of haproxy that performs best here.
///
/// It has no logs, and timeouts that never end a load. Its buffers are as large as the daemon's,
/// which gives it half as much throughput again as its default of 16 KiB. Splicing is not better on
/// the whole (see bench/README.md).
fn haproxy_config(threads: usize, laptop: Ipv4Addr) -> String {
    format!(
        "global\n  maxconn 9000\n  nbthread {threads}\n  tune.bufsize 262144\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen steal\n  bind 0.0.0.0:{HAPROXY_PORT}\n  server laptop {laptop}:{LAPTOP_PORT}\n"
    )
}
