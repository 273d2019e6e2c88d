//! The namespaces of a run, and the servers and proxies in them.
//!
//! ```text
//!   client ── node (router, runs the daemon) ── laptop   nginx :3000 (HTTP/1.1), :3002 (HTTP/2)
//!                │
//!                └── web    nginx :8080 (HTTP/1.1), :8082 (HTTP/2)
//!                           haproxy or nginx :9001, :9002 (while a case measures it)
//! ```

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use testbed::{Daemon, Namespace, Process, Topology};

use super::{
    cases::{Case, Load, Middle},
    load::{self, Figures},
};
use crate::steal::process;

/// Ports of the app: for HTTP/1.1 and for HTTP/2.
const APP: [u16; 2] = [8080, 8082];
/// Ports of the developer's server: for HTTP/1.1 and for HTTP/2.
const LAPTOP: [u16; 2] = [3000, 3002];
/// Ports of the measured proxy: for HTTP/1.1 and for HTTP/2.
const PROXY: [u16; 2] = [9001, 9002];

/// Maximum time for the start of a program.
const START: Duration = Duration::from_secs(10);

/// The namespaces and servers, which last for the whole run.
pub(crate) struct Fixture {
    _servers: [Process; 2],
    client: Namespace,
    web: Namespace,
    laptop: Namespace,
    topology: Topology,
}

/// The proxy of one case, which stops when this is dropped.
enum Proxy {
    Nothing,
    Process(Process),
    Daemon(Daemon),
}

impl Proxy {
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Nothing => None,
            Self::Process(process) => Some(process.pid()),
            Self::Daemon(daemon) => Some(daemon.pid()),
        }
    }
}

impl Fixture {
    pub(crate) fn build() -> Result<Self> {
        let topology = Topology::new("bench http")?;
        let (web, laptop, client) =
            (topology.pod("web")?, topology.host("laptop")?, topology.host("client")?);
        let servers = [server(&web, APP)?, server(&laptop, LAPTOP)?];
        Ok(Self { _servers: servers, client, web, laptop, topology })
    }

    /// Starts the proxy of the case, measures the loads, and stops the proxy again.
    pub(crate) fn measure(
        &self,
        case: Case,
        loads: &[Load],
        seconds: u32,
    ) -> Result<Vec<(Load, Figures)>> {
        let (proxy, ports) = match case.middle() {
            Middle::Nothing => (Proxy::Nothing, APP),
            Middle::Daemon { workers } => (Proxy::Daemon(self.daemon(workers)?), APP),
            Middle::Haproxy { threads } => (Proxy::Process(self.haproxy(threads)?), PROXY),
            Middle::Nginx { workers } => (Proxy::Process(self.nginx(workers)?), PROXY),
        };
        let user = if case.is_matched() { "debug" } else { "bystander" };
        let served_by = if case.is_matched() { self.laptop.label() } else { self.web.label() };
        let mut all = Vec::new();
        for &load in loads {
            let port = ports[usize::from(load == Load::H2)];
            let url = format!("http://{}:{port}{}", self.web.ip4(), load.path());
            load::check(&self.client, load, &url, user, served_by)?;
            let cpu = || proxy.pid().map(cpu_seconds).transpose();
            let before = cpu()?;
            let mut figures = load::run(&self.client, load, &url, user, seconds)?;
            if let (Some(before), Some(after)) = (before, cpu()?) {
                figures.cpu_us_per_request = Some((after - before) * 1e6 / figures.requests);
            }
            all.push((load, figures));
        }
        Ok(all)
    }

    fn daemon(&self, workers: u32) -> Result<Daemon> {
        let rule = |n: usize| {
            let to = self.laptop.ip4();
            format!("{} -> {to}:{} when request.headers['x-user'] == 'debug'", APP[n], LAPTOP[n])
        };
        let workloads = testbed::workload(&self.web, &format!("{}; {}", rule(0), rule(1)));
        let daemon = Daemon::start_with(&self.topology, &workloads, |command| {
            command.args(["--workers", &workers.to_string()]);
            Ok(())
        })?;
        daemon.wait_active(self.web.label())?;
        Ok(daemon)
    }

    /// haproxy without logs, and with timeouts that never end a load.
    ///
    /// It keeps its connections to servers, but does not share them among clients. The daemon does
    /// the same: a client's connection has upstream connections of its own.
    fn haproxy(&self, threads: u32) -> Result<Process> {
        let (app, laptop) = (self.web.ip4(), self.laptop.ip4());
        let mut config = format!(
            "global\n  maxconn 9000\n  nbthread {threads}\n\
             defaults\n  mode http\n  http-reuse never\n\
             \x20 timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n"
        );
        for (n, proto) in ["", " proto h2"].into_iter().enumerate() {
            config += &format!(
                "frontend in{n}\n  bind 0.0.0.0:{}{proto}\n\
                 \x20 use_backend laptop{n} if {{ req.hdr(x-user) -m str debug }}\n\
                 \x20 default_backend app{n}\n\
                 backend app{n}\n  server app {app}:{}{proto}\n\
                 backend laptop{n}\n  server laptop {laptop}:{}{proto}\n",
                PROXY[n], APP[n], LAPTOP[n],
            );
        }
        let file = self.topology.dir().join(format!("haproxy-http-{threads}.cfg"));
        fs::write(&file, config)?;
        let mut command = self.web.command("haproxy");
        command.arg("-db").arg("-f").arg(&file);
        let mut haproxy =
            self.web.spawn(&mut command).context("`cargo xtask setup bench` installs haproxy")?;
        haproxy.wait_for_port(PROXY[1], START)?;
        Ok(haproxy)
    }

    fn nginx(&self, workers: u32) -> Result<Process> {
        let http = format!(
            "map $http_x_user $server {{ default app; debug laptop; }}\n\
             upstream app {{ server {}:{}; keepalive 64; }}\n\
             upstream laptop {{ server {}:{}; keepalive 64; }}\n\
             server {{ listen {}; location / {{ proxy_pass http://$server; \
             proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}\n",
            self.web.ip4(),
            APP[0],
            self.laptop.ip4(),
            LAPTOP[0],
            PROXY[0],
        );
        let mut nginx = nginx(&self.web, &format!("proxy-{workers}"), workers, &http)?;
        nginx.wait_for_port(PROXY[0], START)?;
        Ok(nginx)
    }
}

/// Starts an nginx as the app or the developer's server. Its answers carry its name.
fn server(netns: &Namespace, ports: [u16; 2]) -> Result<Process> {
    let dir = netns.dir().join(format!("files-{}", netns.label()));
    fs::create_dir_all(&dir)?;
    for (name, size) in [("0", 0), ("1k", 1 << 10), ("64k", 64 << 10)] {
        fs::write(dir.join(name), vec![b'x'; size])?;
    }
    let server = |listen: &str| {
        format!(
            "server {{ listen {listen} backlog=4096; root {}; add_header X-Served-By {}; }}\n",
            dir.display(),
            netns.label()
        )
    };
    let http = server(&ports[0].to_string()) + &server(&format!("{} http2", ports[1]));
    let mut nginx = nginx(netns, "server", 2, &http)?;
    nginx.wait_for_port(ports[1], START)?;
    Ok(nginx)
}

/// Starts an nginx with the given `http` section.
fn nginx(netns: &Namespace, name: &str, workers: u32, http: &str) -> Result<Process> {
    let dir = netns.dir().join(format!("nginx-{}-{name}", netns.label()));
    fs::create_dir_all(&dir)?;
    let temporary = |kind: &str| format!("{kind}_temp_path {};\n", dir.join(kind).display());
    let paths: String =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(temporary).concat();
    let config = format!(
        "daemon off;\nuser root;\nworker_processes {workers};\nerror_log stderr;\npid {}/pid;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\naccess_log off;\nkeepalive_requests 100000000;\nkeepalive_timeout 1h;\n\
         open_file_cache max=16;\n{paths}{http}}}\n",
        dir.display(),
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, config)?;
    let mut command = netns.command("nginx");
    command.arg("-e").arg("stderr").arg("-p").arg(&dir).arg("-c").arg(&file);
    netns.spawn(&mut command).context("`cargo xtask setup bench` installs nginx")
}

/// CPU seconds of a process and its children.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut sum = process::cpu_seconds(pid)?;
    let children = Path::new("/proc")
        .join(pid.to_string())
        .join("task")
        .join(pid.to_string())
        .join("children");
    for child in fs::read_to_string(&children).unwrap_or_default().split_ascii_whitespace() {
        sum += process::cpu_seconds(child.parse()?)?;
    }
    Ok(sum)
}
