//! Clients that everybody runs, on a port with a condition: WebSocket, TLS, and more bytes than would fit anywhere.

mod gibibyte;
mod pattern;
mod tls;
mod websocket;

use std::process::Command;

use anyhow::Result;
use interceptor_tests::software::tool;
use testbed::{Daemon, Namespace, Topology, workload};

const PORT: u16 = 8080;

/// The value of `X-User` by which each of them is called.
const USERS: [(&str, &str); 2] = [("someone", "app"), ("debug", "laptop")];

/// A pod and a laptop; those who say that they are `debug` get the laptop.
struct Fixture {
    pod: Namespace,
    laptop: Namespace,
    client: Namespace,
}

impl Fixture {
    fn new(t: &Topology) -> Result<Self> {
        Ok(Self { pod: t.pod("web")?, laptop: t.host("laptop")?, client: t.host("client")? })
    }

    fn daemon(&self, t: &Topology) -> Result<Daemon> {
        let rule = format!(
            "{PORT} -> {}:{PORT} when request.headers['x-user'] == 'debug'",
            self.laptop.ip4()
        );
        let daemon = Daemon::start(t, &workload(&self.pod, &rule), &[])?;
        daemon.wait_active("web")?;
        Ok(daemon)
    }

    fn curl(&self, user: &str, args: &[&str]) -> Command {
        let mut command = tool(&self.client, "curl");
        command.args(["-sS", "--http1.1", "-H", &format!("X-User: {user}")]).args(args);
        command
    }

    /// Where `user` calls, and where his call would end.
    fn url(&self, path: &str) -> String {
        format!("http://{}:{PORT}{path}", self.pod.ip4())
    }
}
