//! A client: a channel, and the four kinds of call.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use http::uri::PathAndQuery;
use interceptor_tests::block_on;
use testbed::Namespace;
use tokio_stream::Stream;
use tonic::{
    Request, Response, Status, Streaming,
    client::Grpc,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::service::{MAXIMUM_MESSAGE, Payload};

/// Calls on one channel, with the header of the debug rule or without.
#[derive(Clone)]
pub(crate) struct Client {
    grpc: Grpc<Channel>,
    is_debug: bool,
}

/// Runs a future with its sockets in `netns`.
pub(crate) fn run_in<T: Send>(
    netns: &Namespace,
    body: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    netns.run(|| block_on(body))
}

/// The settings of a channel.
pub(crate) fn endpoint(ip: Ipv4Addr, port: u16) -> Result<Endpoint> {
    Ok(Endpoint::from_shared(format!("http://{}", SocketAddr::from((ip, port))))?)
}

impl Client {
    pub(crate) fn new(channel: Channel) -> Self {
        let grpc = Grpc::new(channel)
            .max_decoding_message_size(MAXIMUM_MESSAGE)
            .max_encoding_message_size(MAXIMUM_MESSAGE);
        Self { grpc, is_debug: false }
    }

    /// A client on the same channel, with the header of the debug rule or without.
    pub(crate) fn debug(&self, is_debug: bool) -> Self {
        Self { grpc: self.grpc.clone(), is_debug }
    }

    /// A request with this client's metadata.
    pub(crate) fn request<T>(&self, content: T) -> Request<T> {
        let mut request = Request::new(content);
        if self.is_debug {
            request.metadata_mut().insert("x-user", MetadataValue::from_static("debug"));
        }
        request
    }

    /// Sends a message, and reads a message.
    pub(crate) async fn unary(&self, payload: Payload) -> Result<Response<Payload>, Status> {
        self.unary_within(payload, None).await
    }

    /// As [`unary`](Self::unary), with a deadline.
    pub(crate) async fn unary_within(
        &self,
        payload: Payload,
        time: Option<Duration>,
    ) -> Result<Response<Payload>, Status> {
        let mut request = self.request(payload);
        time.into_iter().for_each(|time| request.set_timeout(time));
        self.ready().await?.unary(request, path("Unary"), codec()).await
    }

    /// Sends a message, and returns a stream of messages.
    pub(crate) async fn server_stream(
        &self,
        payload: Payload,
    ) -> Result<Streaming<Payload>, Status> {
        let request = self.request(payload);
        Ok(self
            .ready()
            .await?
            .server_streaming(request, path("ServerStream"), codec())
            .await?
            .into_inner())
    }

    /// Sends a stream of messages, and reads a message.
    pub(crate) async fn client_stream(
        &self,
        payload: impl Stream<Item = Payload> + Send + 'static,
    ) -> Result<Payload, Status> {
        self.client_stream_of(self.request(payload)).await
    }

    /// As [`client_stream`](Self::client_stream), with the whole request.
    pub(crate) async fn client_stream_of(
        &self,
        request: Request<impl Stream<Item = Payload> + Send + 'static>,
    ) -> Result<Payload, Status> {
        Ok(self
            .ready()
            .await?
            .client_streaming(request, path("ClientStream"), codec())
            .await?
            .into_inner())
    }

    /// Sends a stream of messages, and returns another one.
    pub(crate) async fn bidi(
        &self,
        payload: impl Stream<Item = Payload> + Send + 'static,
    ) -> Result<Streaming<Payload>, Status> {
        self.bidi_of(self.request(payload)).await
    }

    /// As [`bidi`](Self::bidi), with the whole request.
    pub(crate) async fn bidi_of(
        &self,
        request: Request<impl Stream<Item = Payload> + Send + 'static>,
    ) -> Result<Streaming<Payload>, Status> {
        Ok(self.ready().await?.streaming(request, path("Bidi"), codec()).await?.into_inner())
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = self.grpc.clone();
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        Ok(grpc)
    }
}

fn path(method: &str) -> PathAndQuery {
    PathAndQuery::try_from(format!("/tests.Test/{method}")).expect("a path")
}

fn codec() -> ProstCodec<Payload, Payload> {
    ProstCodec::default()
}
