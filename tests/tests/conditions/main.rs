//! Rules with conditions: the target gets the requests that match, and nothing changes for others.

#![forbid(unsafe_code)]

mod closing;
mod matching;
mod not_http;
mod percent;
mod proxy_header;
mod several_rules;
mod silence;
mod target_closes;
mod target_failures;
mod target_only;
mod unchanged;
mod upgrades;

use std::{
    io::{BufRead as _, BufReader},
    net::TcpStream,
};

use anyhow::Result;
use interceptor_tests::{DEBUG_HEADER, Fixture, HttpClient, HttpEchoServer, TIMEOUT, WHEN_DEBUG};
use testbed::Daemon;

/// A header that no rule of these tests matches.
const OTHER_HEADER: &str = "a: b";

/// A fixture with an echo server on port 80 of the pod, and one on port 4000 of the laptop.
struct HttpFixture<'t> {
    base: Fixture<'t>,
    app: HttpEchoServer,
    target: HttpEchoServer,
}

/// Runs one test in an [`HttpFixture`] of its own.
fn run_http(body: impl FnOnce(HttpFixture<'_>) -> Result<()>) {
    interceptor_tests::run(|f| body(HttpFixture::new(f)?));
}

// === impl HttpFixture ===

impl<'t> HttpFixture<'t> {
    fn new(base: Fixture<'t>) -> Result<Self> {
        let app = HttpEchoServer::start(&base.pod, (std::net::Ipv6Addr::UNSPECIFIED, 80), "app")?;
        let target =
            HttpEchoServer::start(&base.laptop, (std::net::Ipv6Addr::UNSPECIFIED, 4000), "laptop")?;
        Ok(Self { base, app, target })
    }

    /// `80 -> <laptop>:4000 <rest>`.
    fn rule(&self, rest: &str) -> String {
        format!("80 -> {}:4000 {rest}", self.base.laptop.ip4())
    }

    /// Starts the daemon with the debug rule for port 80.
    fn daemon(&self) -> Result<Daemon> {
        self.daemon_for(80, 4000)
    }

    /// Starts the daemon with the debug rule for a port of the pod and a port of the laptop.
    fn daemon_for(&self, port: u16, target: u16) -> Result<Daemon> {
        let rule = format!("{port} -> {}:{target} {WHEN_DEBUG}", self.base.laptop.ip4());
        self.base.daemon_with(&rule, &[])
    }

    /// Connects the client to port 80 of the pod.
    fn connect(&self) -> Result<HttpClient> {
        self.connect_to(80)
    }

    /// Connects the client to a port of the pod.
    fn connect_to(&self, port: u16) -> Result<HttpClient> {
        HttpClient::connect(&self.base.client, (self.base.pod.ip4(), port))
    }
}

/// A GET request with this header line.
fn get(header: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: web\r\n{header}\r\n\r\n")
}

/// The header line of a request that the server `tag` serves.
fn header_for(tag: &str) -> &'static str {
    if tag == "app" { OTHER_HEADER } else { DEBUG_HEADER }
}

/// The first word that a server sends to a client that sends nothing.
fn greeting(f: &Fixture<'_>, port: u16) -> Result<String> {
    let address = (f.pod.ip4(), port);
    let stream = f.client.run(|| TcpStream::connect(address))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.split(' ').next().unwrap_or_default().to_owned())
}

/// The number of connections of the workload that became a raw pipe for this reason.
fn piped(daemon: &Daemon, reason: &str) -> Result<u64> {
    let workload = daemon.workload("web")?;
    let rules = workload["rules"].as_array().into_iter().flatten();
    let pipes = rules.flat_map(|rule| rule["piped"].as_array().into_iter().flatten());
    Ok(pipes
        .filter(|pipe| pipe["reason"] == reason)
        .filter_map(|pipe| pipe["count"].as_u64())
        .sum())
}

/// The number of requests and connections of the workload with this decision.
fn decided(daemon: &Daemon, decision: &str) -> Result<u64> {
    let workload = daemon.workload("web")?;
    let rules = workload["rules"].as_array().into_iter().flatten();
    Ok(rules.filter_map(|rule| rule["decisions"][decision].as_u64()).sum())
}
