//! The play of nearly every test: a pod with an app, a laptop with a developer's server, and a client.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    process::Command,
    thread,
};

use anyhow::Result;
use testbed::{Daemon, Namespace, Protocol, TcpService, Topology, call, netns_test, workload};

/// Pod `web` with its app on port 8080, `laptop` with a server on port 3000, and `client`.
///
/// The app answers `app`, the laptop `laptop`, both on all their addresses.
#[derive(Debug)]
pub struct Fixture<'t> {
    /// Node and namespaces.
    pub t: &'t Topology,
    /// The workload.
    pub pod: Namespace,
    /// Where the target is.
    pub laptop: Namespace,
    /// Somebody outside.
    pub client: Namespace,
    /// What the pod is there for.
    pub app: TcpService,
    /// What the developer runs.
    pub target: TcpService,
}

/// Plays one test in a scene of its own, called as the test is.
pub fn run(body: impl FnOnce(Fixture<'_>) -> Result<()>) {
    // The test harness names the thread after the test.
    let title = thread::current().name().unwrap_or("a test").to_owned();
    netns_test(&title, |t| body(Fixture::new(t)?));
}

/// The name of whoever answers a call from `netns`.
pub fn served_by(netns: &Namespace, to: impl Into<SocketAddr>) -> io::Result<String> {
    call(netns, to, Protocol::Line).map(|answer| answer.tag)
}

impl<'t> Fixture<'t> {
    fn new(t: &'t Topology) -> Result<Self> {
        Self::around(t, t.pod("web")?)
    }

    /// Everything else, around a pod of a special kind.
    pub fn around(t: &'t Topology, pod: Namespace) -> Result<Self> {
        let (laptop, client) = (t.host("laptop")?, t.host("client")?);
        let app = TcpService::tagged(&pod, (Ipv6Addr::UNSPECIFIED, 8080), "app")?;
        let target = TcpService::tagged(&laptop, (Ipv6Addr::UNSPECIFIED, 3000), "laptop")?;
        Ok(Self { t, pod, laptop, client, app, target })
    }

    /// The pod's port as callers know it.
    pub fn port(&self) -> SocketAddr {
        (self.pod.ip4(), 8080).into()
    }

    /// `8080 -> <laptop>:3000`
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

    /// The daemon with the pod's port redirected to the laptop, proven.
    pub fn daemon(&self) -> Result<Daemon> {
        self.daemon_with(&self.rule(), &[])
    }

    /// The daemon with a rule of the pod in force, and further arguments.
    pub fn daemon_with(&self, rule: &str, args: &[&str]) -> Result<Daemon> {
        self.daemon_adapted(rule, |command| {
            command.args(args);
            Ok(())
        })
    }

    /// The daemon with a rule of the pod in force, started in a special way.
    pub fn daemon_adapted(
        &self,
        rule: &str,
        adapt: impl FnOnce(&mut Command) -> Result<()>,
    ) -> Result<Daemon> {
        let daemon = Daemon::start_with(self.t, &self.web(rule), adapt)?;
        daemon.wait_active("web")?;
        Ok(daemon)
    }

    /// Who answers a call of the client.
    pub fn served_by(&self) -> io::Result<String> {
        served_by(&self.client, self.port())
    }
}
