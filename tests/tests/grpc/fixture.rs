//! The hosts of a gRPC test, and what its client does.

use std::{future::Future, time::Duration};

use anyhow::{Result, ensure};
use interceptor_tests::TIMEOUT;
use testbed::{Daemon, Namespace, Topology, netns_test, workload};
use tokio::time::{Instant, sleep};
use tonic_health::pb::health_client::HealthClient;

use crate::{
    client::{Client, calling, endpoint},
    service::Server,
};

pub(crate) const MIB: u32 = 1 << 20;

/// A pod with a gRPC service on port 8080, and a laptop with another one that has the calls with `x-user: debug`.
pub(crate) struct Fixture {
    pub(crate) pod: Namespace,
    pub(crate) laptop: Namespace,
    pub(crate) client: Namespace,
    pub(crate) daemon: Daemon,
}

pub(crate) fn run(title: &str, body: impl FnOnce(Fixture) -> Result<()>) {
    netns_test(title, |t: &Topology| {
        let (pod, laptop, client) = (t.pod("web")?, t.host("laptop")?, t.host("client")?);
        let rule =
            format!("8080 -> {}:3000 when request.headers['x-user'] == 'debug'", laptop.ip4());
        let daemon = Daemon::start(t, &workload(&pod, &rule), &[])?;
        daemon.wait_active("web")?;
        body(Fixture { pod, laptop, client, daemon })
    });
}

impl Fixture {
    pub(crate) fn app(&self) -> Result<Server> {
        Server::start(&self.pod, 8080, "app")
    }

    pub(crate) fn target(&self) -> Result<Server> {
        Server::start(&self.laptop, 3000, "laptop")
    }

    /// Runs what the client does on one channel to the pod.
    pub(crate) fn calling<T: Send, F>(&self, body: impl FnOnce(Client) -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        self.calling_port(8080, body)
    }

    pub(crate) fn calling_port<T: Send, F>(
        &self,
        port: u16,
        body: impl FnOnce(Client) -> F + Send,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let endpoint = endpoint(self.pod.ip4(), port)?;
        calling(&self.client, async move { body(Client::new(endpoint.connect().await?)).await })
    }
}

pub(crate) fn tag(is_debug: bool) -> &'static str {
    if is_debug { "laptop" } else { "app" }
}

impl Fixture {
    pub(crate) fn calling_health<F>(
        &self,
        body: impl FnOnce(HealthClient<tonic::transport::Channel>, Client) -> F + Send,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send,
    {
        let endpoint = endpoint(self.pod.ip4(), 8080)?;
        calling(&self.client, async move {
            let channel = endpoint.connect().await?;
            body(HealthClient::new(channel.clone()), Client::new(channel)).await
        })
    }
}

/// Waits for something that another thread sees.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so() {
        ensure!(Instant::now() < deadline, "waited {TIMEOUT:?} for {what}, in vain");
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
