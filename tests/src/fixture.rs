//! The fixture of most tests: three hosts, the app of the pod, and a target on the laptop.

use std::{
    fs, io,
    net::{Ipv6Addr, SocketAddr},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use testbed::{
    Daemon, Namespace, Protocol, TcpService, Topology, call, netns_test, wait_until, workload,
};

use crate::Hosts;

/// Pod `web` with its app on port 8080, `laptop` with a target on port 3000, and `client`.
///
/// The app answers `app` and the target answers `laptop`, both on all addresses of their host.
#[derive(Debug)]
pub struct Fixture<'t> {
    /// The topology with its node.
    pub t: &'t Topology,
    /// The workload.
    pub pod: Namespace,
    /// The host of the target.
    pub laptop: Namespace,
    /// The host of the clients.
    pub client: Namespace,
    /// The app of the pod.
    pub app: TcpService,
    /// The target of the rules.
    pub target: TcpService,
}

/// Runs one test in a fixture of its own, titled after the test.
pub fn run(body: impl FnOnce(Fixture<'_>) -> Result<()>) {
    // The test harness names the thread after the test.
    let title = thread::current().name().unwrap_or("a test").to_owned();
    netns_test(&title, |t| body(Fixture::new(t)?));
}

/// The name of the server that answers a call from `netns`.
pub fn served_by(netns: &Namespace, to: impl Into<SocketAddr>) -> io::Result<String> {
    call(netns, to, Protocol::Line).map(|answer| answer.tag)
}

/// Waits until the server `tag` answers calls from `netns`.
pub fn wait_served_by(
    netns: &Namespace,
    to: impl Into<SocketAddr>,
    tag: &str,
    timeout: Duration,
) -> Result<()> {
    let to = to.into();
    wait_until(&format!("an answer by {tag}"), timeout, || {
        let server = served_by(netns, to)?;
        ensure!(server == tag, "{server} answered");
        Ok(())
    })
}

impl<'t> Fixture<'t> {
    fn new(t: &'t Topology) -> Result<Self> {
        Self::on(Hosts::new(t)?)
    }

    /// Starts app and target on existing hosts.
    pub fn on(hosts: Hosts<'t>) -> Result<Self> {
        let Hosts { t, pod, laptop, client } = hosts;
        let app = TcpService::tagged(&pod, (Ipv6Addr::UNSPECIFIED, 8080), "app")?;
        let target = TcpService::tagged(&laptop, (Ipv6Addr::UNSPECIFIED, 3000), "laptop")?;
        Ok(Self { t, pod, laptop, client, app, target })
    }

    /// The address that clients connect to: the pod's IPv4 address and port 8080.
    pub fn port(&self) -> SocketAddr {
        (self.pod.ip4(), 8080).into()
    }

    /// `8080 -> <laptop>:3000`.
    pub fn rule(&self) -> String {
        format!("8080 -> {}:3000", self.laptop.ip4())
    }

    /// A workloads file with the pod and this rule.
    pub fn web(&self, rule: &str) -> String {
        workload(&self.pod, rule)
    }

    /// A workloads file with the pod and no rule.
    pub fn without_rule(&self) -> String {
        format!("workloads: [{{name: web, netns: {}}}]\n", self.pod.netns_path().display())
    }

    /// Writes a policy file, and returns its path as an argument for `--policy`.
    pub fn policy(&self, content: &str) -> Result<String> {
        let file = self.t.dir().join("policy.yaml");
        fs::write(&file, content)?;
        Ok(file.to_string_lossy().into_owned())
    }

    /// Starts the daemon with [`rule`](Self::rule), and waits until the rule is active.
    pub fn daemon(&self) -> Result<Daemon> {
        self.daemon_with(&self.rule(), &[])
    }

    /// Starts the daemon with a rule for the pod and further arguments, and waits until the rule is
    /// active.
    pub fn daemon_with(&self, rule: &str, args: &[&str]) -> Result<Daemon> {
        self.daemon_adapted(rule, |command| {
            command.args(args);
            Ok(())
        })
    }

    /// As [`daemon_with`](Self::daemon_with); `adapt` may change the command.
    pub fn daemon_adapted(
        &self,
        rule: &str,
        adapt: impl FnOnce(&mut Command) -> Result<()>,
    ) -> Result<Daemon> {
        let daemon = Daemon::start_with(self.t, &self.web(rule), adapt)?;
        daemon.wait_active("web")?;
        Ok(daemon)
    }

    /// The name of the server that answers a call of the client.
    pub fn served_by(&self) -> io::Result<String> {
        served_by(&self.client, self.port())
    }

    /// Waits until the server `tag` answers calls of the client.
    pub fn wait_served_by(&self, tag: &str, timeout: Duration) -> Result<()> {
        wait_served_by(&self.client, self.port(), tag, timeout)
    }
}
