//! Rules with conditions: the requests that match go to the developer, and nobody else notices.

mod closing;
mod matching;
mod not_http;
mod percent;
mod several_rules;
mod target_failures;
mod target_only;
mod unchanged;
mod upgrades;

use std::{
    io::{BufRead as _, BufReader},
    net::TcpStream,
};

use anyhow::Result;
use interceptor_tests::{Fixture, HttpClient, HttpEchoServer, TIMEOUT};
use testbed::Daemon;

/// A pod whose app and a laptop whose server tell what they got.
struct HttpFixture<'t> {
    base: Fixture<'t>,
    app: HttpEchoServer,
    target: HttpEchoServer,
}

/// The header that the rules of these tests look for.
const DEBUG: &str = "x-user: debug";

const WHEN: &str = "when request.headers['x-user'] == 'debug'";

impl<'t> HttpFixture<'t> {
    fn new(base: Fixture<'t>) -> Result<Self> {
        let app = HttpEchoServer::start(&base.pod, (std::net::Ipv6Addr::UNSPECIFIED, 80), "app")?;
        let target =
            HttpEchoServer::start(&base.laptop, (std::net::Ipv6Addr::UNSPECIFIED, 4000), "laptop")?;
        Ok(Self { base, app, target })
    }

    fn rule(&self, rest: &str) -> String {
        format!("80 -> {}:4000 {rest}", self.base.laptop.ip4())
    }

    fn daemon(&self) -> Result<Daemon> {
        self.base.daemon_with(&self.rule(WHEN), &[])
    }

    fn caller(&self) -> Result<HttpClient> {
        HttpClient::connect(&self.base.client, (self.base.pod.ip4(), 80))
    }
}

fn run_http(body: impl FnOnce(HttpFixture<'_>) -> Result<()>) {
    interceptor_tests::run(|f| body(HttpFixture::new(f)?));
}

/// Who greets a caller of the pod who says nothing.
fn greeting(f: &Fixture<'_>, port: u16) -> Result<String> {
    let address = (f.pod.ip4(), port);
    let stream = f.client.run(|| TcpStream::connect(address))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.split(' ').next().unwrap_or_default().to_owned())
}

/// Connections of the workload's rules that became a pipe for this reason.
fn piped(daemon: &Daemon, reason: &str) -> Result<u64> {
    let workload = daemon.workload("web")?;
    let rules = workload["rules"].as_array().into_iter().flatten();
    let pipes = rules.flat_map(|rule| rule["piped"].as_array().into_iter().flatten());
    Ok(pipes
        .filter(|pipe| pipe["reason"] == reason)
        .filter_map(|pipe| pipe["count"].as_u64())
        .sum())
}

/// Requests and connections that the workload's rules made this of.
fn decided(daemon: &Daemon, decision: &str) -> Result<u64> {
    let workload = daemon.workload("web")?;
    let rules = workload["rules"].as_array().into_iter().flatten();
    Ok(rules.filter_map(|rule| rule["decisions"][decision].as_u64()).sum())
}
