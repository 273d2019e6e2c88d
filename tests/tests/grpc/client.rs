//! A channel, as gRPC calls what its clients have, and the four kinds of call on it.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use http::uri::PathAndQuery;
use testbed::Namespace;
use tokio::{runtime, time::timeout};
use tokio_stream::Stream;
use tonic::{
    Request, Response, Status, Streaming,
    client::Grpc,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::service::{LIMIT, Payload};

/// Longer than anything here takes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Calls on one channel, for a developer or for anybody.
#[derive(Clone)]
pub(crate) struct Client {
    grpc: Grpc<Channel>,
    is_debug: bool,
}

/// Runs what a caller in `netns` does: its sockets are made there.
pub(crate) fn calling<T: Send>(
    netns: &Namespace,
    body: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    netns.run(|| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { timeout(TIMEOUT, body).await.context("it takes too long")? })
    })
}

/// A channel's settings.
pub(crate) fn endpoint(ip: Ipv4Addr, port: u16) -> Result<Endpoint> {
    Ok(Endpoint::from_shared(format!("http://{}", SocketAddr::from((ip, port))))?)
}

impl Client {
    pub(crate) fn new(channel: Channel) -> Self {
        let grpc =
            Grpc::new(channel).max_decoding_message_size(LIMIT).max_encoding_message_size(LIMIT);
        Self { grpc, is_debug: false }
    }

    /// The same channel, with the header that the rule looks for, or without.
    pub(crate) fn debug(&self, is_debug: bool) -> Self {
        Self { grpc: self.grpc.clone(), is_debug }
    }

    /// A request as this caller makes it.
    pub(crate) fn request<T>(&self, content: T) -> Request<T> {
        let mut request = Request::new(content);
        if self.is_debug {
            request.metadata_mut().insert("x-user", MetadataValue::from_static("debug"));
        }
        request
    }

    pub(crate) async fn say(&self, words: Payload) -> Result<Response<Payload>, Status> {
        self.say_within(words, None).await
    }

    /// With a deadline.
    pub(crate) async fn say_within(
        &self,
        words: Payload,
        time: Option<Duration>,
    ) -> Result<Response<Payload>, Status> {
        let mut request = self.request(words);
        time.into_iter().for_each(|time| request.set_timeout(time));
        self.ready().await?.unary(request, path("Say"), codec()).await
    }

    pub(crate) async fn count(&self, words: Payload) -> Result<Streaming<Payload>, Status> {
        let request = self.request(words);
        Ok(self
            .ready()
            .await?
            .server_streaming(request, path("Count"), codec())
            .await?
            .into_inner())
    }

    pub(crate) async fn gather(
        &self,
        words: impl Stream<Item = Payload> + Send + 'static,
    ) -> Result<Payload, Status> {
        self.gather_of(self.request(words)).await
    }

    /// By a request of one's own making.
    pub(crate) async fn gather_of(
        &self,
        request: Request<impl Stream<Item = Payload> + Send + 'static>,
    ) -> Result<Payload, Status> {
        Ok(self
            .ready()
            .await?
            .client_streaming(request, path("Gather"), codec())
            .await?
            .into_inner())
    }

    pub(crate) async fn chat(
        &self,
        words: impl Stream<Item = Payload> + Send + 'static,
    ) -> Result<Streaming<Payload>, Status> {
        self.chat_of(self.request(words)).await
    }

    /// By a request of one's own making.
    pub(crate) async fn chat_of(
        &self,
        request: Request<impl Stream<Item = Payload> + Send + 'static>,
    ) -> Result<Streaming<Payload>, Status> {
        Ok(self.ready().await?.streaming(request, path("Chat"), codec()).await?.into_inner())
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = self.grpc.clone();
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        Ok(grpc)
    }
}

fn path(method: &str) -> PathAndQuery {
    PathAndQuery::try_from(format!("/tests.Streams/{method}")).expect("a path")
}

fn codec() -> ProstCodec<Payload, Payload> {
    ProstCodec::default()
}
