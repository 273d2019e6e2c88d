//! Clients in wide use, on a port with a condition: WebSocket, TLS, and a gibibyte each way.

#![forbid(unsafe_code)]

mod gibibyte;
mod pattern;
mod tls;
mod websocket;

use std::process::Command;

use anyhow::Result;
use interceptor_tests::{Hosts, software::tool};
use testbed::{Daemon, Topology};

/// The port of app and target.
const PORT: u16 = 8080;

/// Values of `X-User`, each with the server that such requests reach.
const USERS: [(&str, &str); 2] = [("someone", "app"), ("debug", "laptop")];

/// The hosts of these tests.
struct Fixture<'t> {
    hosts: Hosts<'t>,
}

impl<'t> Fixture<'t> {
    fn new(t: &'t Topology) -> Result<Self> {
        Ok(Self { hosts: Hosts::new(t)? })
    }

    /// Starts the daemon with the debug rule.
    fn daemon(&self) -> Result<Daemon> {
        let hosts = &self.hosts;
        Daemon::start_active(hosts.t, &hosts.pod, &hosts.debug_rule(PORT, PORT))
    }

    /// curl on the client's host, with a value of `X-User`.
    fn curl(&self, user: &str, args: &[&str]) -> Command {
        let mut command = tool(&self.hosts.client, "curl");
        command.args(["-sS", "--http1.1", "-H", &format!("X-User: {user}")]).args(args);
        command
    }

    /// A URL at the pod's port.
    fn url(&self, path: &str) -> String {
        format!("http://{}:{PORT}{path}", self.hosts.pod.ip4())
    }
}
