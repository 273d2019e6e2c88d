//! Fixture of the gRPC tests.

use std::{future::Future, time::Duration};

use anyhow::{Result, ensure};
use interceptor_tests::{Hosts, TIMEOUT};
use testbed::{Daemon, netns_test};
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;
use tonic_health::pb::health_client::HealthClient;

use crate::{
    client::{Client, endpoint, run_in},
    service::Server,
};

pub(crate) const MIB: u32 = 1 << 20;

/// A pod with the debug rule on port 8080, the laptop, a client, and the daemon.
pub(crate) struct Fixture<'t> {
    pub(crate) hosts: Hosts<'t>,
    pub(crate) daemon: Daemon,
}

/// Runs one test in a fixture of its own.
pub(crate) fn run(title: &str, body: impl FnOnce(Fixture<'_>) -> Result<()>) {
    netns_test(title, |t| {
        let hosts = Hosts::new(t)?;
        let daemon = Daemon::start_active(t, &hosts.pod, &hosts.debug_rule(8080, 3000))?;
        body(Fixture { hosts, daemon })
    });
}

impl Fixture<'_> {
    /// Starts the app of the pod.
    pub(crate) fn app(&self) -> Result<Server> {
        Server::start(&self.hosts.pod, 8080, "app")
    }

    /// Starts the target on the laptop.
    pub(crate) fn target(&self) -> Result<Server> {
        Server::start(&self.hosts.laptop, 3000, "laptop")
    }

    /// Runs a client with a channel to the pod's port 8080.
    pub(crate) fn run_client<T: Send, F>(&self, body: impl FnOnce(Client) -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        self.run_client_at(8080, body)
    }

    /// Runs a client with a channel to a port of the pod.
    pub(crate) fn run_client_at<T: Send, F>(
        &self,
        port: u16,
        body: impl FnOnce(Client) -> F + Send,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let endpoint = endpoint(self.hosts.pod.ip4(), port)?;
        let client = async move { body(Client::new(endpoint.connect().await?)).await };
        run_in(&self.hosts.client, client)
    }

    /// As [`run_client`](Self::run_client), with a client of the health service on the same
    /// channel.
    pub(crate) fn run_health_client<F>(
        &self,
        body: impl FnOnce(HealthClient<Channel>, Client) -> F + Send,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send,
    {
        let endpoint = endpoint(self.hosts.pod.ip4(), 8080)?;
        run_in(&self.hosts.client, async move {
            let channel = endpoint.connect().await?;
            body(HealthClient::new(channel.clone()), Client::new(channel)).await
        })
    }
}

/// The name of the server for calls with the header of the debug rule, or without.
pub(crate) fn tag(is_debug: bool) -> &'static str {
    if is_debug { "laptop" } else { "app" }
}

/// Waits for a condition that another thread makes true.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so() {
        ensure!(Instant::now() < deadline, "timed out after {TIMEOUT:?} waiting for {what}");
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
