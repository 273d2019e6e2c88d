//! Rules with conditions: the requests that match go to the developer, and nobody else notices.

#![forbid(unsafe_code)]

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
use interceptor_tests::{HttpCaller, HttpMirror, SOON, Scene, play};
use testbed::Daemon;

/// A pod whose app and a laptop whose server tell what they got.
struct Stage<'t> {
    s: Scene<'t>,
    app: HttpMirror,
    dev: HttpMirror,
}

/// The header that the rules of these tests look for.
const DEBUG: &str = "x-user: debug";

const WHEN: &str = "when request.headers['x-user'] == 'debug'";

impl<'t> Stage<'t> {
    fn new(s: Scene<'t>) -> Result<Self> {
        let app = HttpMirror::start(&s.pod, (std::net::Ipv6Addr::UNSPECIFIED, 80), "app")?;
        let dev = HttpMirror::start(&s.laptop, (std::net::Ipv6Addr::UNSPECIFIED, 4000), "laptop")?;
        Ok(Self { s, app, dev })
    }

    fn rule(&self, rest: &str) -> String {
        format!("80 -> {}:4000 {rest}", self.s.laptop.ip4())
    }

    fn daemon(&self) -> Result<Daemon> {
        self.s.daemon_with(&self.rule(WHEN), &[])
    }

    fn caller(&self) -> Result<HttpCaller> {
        HttpCaller::connect(&self.s.client, (self.s.pod.ip4(), 80))
    }
}

fn stage(body: impl FnOnce(Stage<'_>) -> Result<()>) {
    play(|s| body(Stage::new(s)?));
}

/// Who greets a caller of the pod who says nothing.
fn greeting(s: &Scene<'_>, port: u16) -> Result<String> {
    let address = (s.pod.ip4(), port);
    let stream = s.client.run(|| TcpStream::connect(address))?;
    stream.set_read_timeout(Some(SOON))?;
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
