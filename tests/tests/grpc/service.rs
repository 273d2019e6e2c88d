//! A gRPC service with all four kinds of call, written in the form of generated code, and a record
//! of what it receives.

use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use anyhow::Result;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::BoxStream};
use interceptor_tests::{Background, pattern};
use parking_lot::{Mutex, MutexGuard};
use prost::Message;
use testbed::Namespace;
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    metadata::{MetadataMap, MetadataValue},
    server::{Grpc, NamedService},
    transport,
};
use tonic_health::{ServingStatus, server::health_reporter};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

/// Maximum size of a message, in bytes.
pub(crate) const MAXIMUM_MESSAGE: usize = 32 << 20;

/// The message of all calls.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Payload {
    /// In a request: what the server should do. In a response: the name of the server.
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    /// Any content.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) content: Bytes,
    /// A number of messages.
    #[prost(uint32, tag = "3")]
    pub(crate) number: u32,
    /// The size of the content that the server should send in each message, in bytes.
    #[prost(uint32, tag = "4")]
    pub(crate) size: u32,
}

/// What a server has received and sent.
#[derive(Default)]
pub(crate) struct Record {
    connections: AtomicU64,
    calls: Mutex<Vec<MetadataMap>>,
    /// Messages sent on server streams.
    sent: AtomicU64,
    /// Calls that ended before the server answered them.
    abandoned: AtomicU64,
}

/// A gRPC server. Dropping it ends it and its connections.
pub(crate) struct Server {
    pub(crate) record: Arc<Record>,
    /// The status that its health service reports.
    pub(crate) health: watch::Sender<ServingStatus>,
    _serving: Background,
}

/// The service.
#[derive(Clone)]
struct TestService {
    tag: &'static str,
    record: Arc<Record>,
}

/// A call without an answer so far. The library reports a reset of the client as the end of the
/// stream, so calls that the test abandons do not wait for messages.
struct OpenCall {
    record: Arc<Record>,
    is_answered: bool,
}

// === impl Payload ===

impl Payload {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }
}

// === impl Record ===

impl Record {
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn calls(&self) -> MutexGuard<'_, Vec<MetadataMap>> {
        self.calls.lock()
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn abandoned(&self) -> u64 {
        self.abandoned.load(Ordering::Relaxed)
    }
}

// === impl Server ===

impl Server {
    /// Starts a server on `port`, with the name `tag`.
    pub(crate) fn start(netns: &Namespace, port: u16, tag: &'static str) -> Result<Self> {
        Self::adapted(netns, port, tag, |server| server)
    }

    /// As [`start`](Self::start), with other settings.
    pub(crate) fn adapted(
        netns: &Namespace,
        port: u16,
        tag: &'static str,
        adapt: impl FnOnce(transport::Server) -> transport::Server,
    ) -> Result<Self> {
        // Calls that are not read take the window of their stream, not that of the connection.
        let builder = transport::Server::builder().initial_connection_window_size(16 << 20);
        let server = adapt(builder);
        let record = Arc::<Record>::default();
        let (health, health_changes) = watch::channel(ServingStatus::Serving);
        let service = TestService { tag, record: Arc::clone(&record) };
        let serving = Background::serve(netns, port, move |listener| {
            serve(server, listener, service, health_changes)
        })?;
        Ok(Self { record, health, _serving: serving })
    }

    /// Ends the server without a word on its connections, as when its process is killed.
    pub(crate) fn kill(self) {}
}

async fn serve(
    mut server: transport::Server,
    listener: TcpListener,
    service: TestService,
    mut health_changes: watch::Receiver<ServingStatus>,
) {
    let record = Arc::clone(&service.record);
    let incoming = TcpListenerStream::new(listener).inspect(move |_| {
        record.connections.fetch_add(1, Ordering::Relaxed);
    });
    let (reporter, health) = health_reporter();
    tokio::spawn(async move {
        while health_changes.changed().await.is_ok() {
            let status = *health_changes.borrow_and_update();
            reporter.set_service_status("", status).await;
        }
    });
    let router = server.add_service(service).add_service(health);
    router.serve_with_incoming(incoming).await.expect("serve");
}

// === impl TestService ===

impl NamedService for TestService {
    const NAME: &'static str = "tests.Test";
}

impl Service<http::Request<Body>> for TestService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        let codec = ProstCodec::<Payload, Payload>::default();
        let mut grpc = Grpc::new(codec)
            .max_decoding_message_size(MAXIMUM_MESSAGE)
            .max_encoding_message_size(MAXIMUM_MESSAGE);
        service.record.calls().push(MetadataMap::from_headers(request.headers().clone()));
        Box::pin(async move {
            let method = request.uri().path().to_owned();
            Ok(match method.as_str() {
                "/tests.Test/Unary" => {
                    grpc.unary(service_fn(|payload| service.clone().unary(payload)), request).await
                }
                "/tests.Test/ServerStream" => {
                    grpc.server_streaming(
                        service_fn(|payload| service.clone().server_stream(payload)),
                        request,
                    )
                    .await
                }
                "/tests.Test/ClientStream" => {
                    grpc.client_streaming(
                        service_fn(|payload| service.clone().client_stream(payload)),
                        request,
                    )
                    .await
                }
                "/tests.Test/Bidi" => {
                    grpc.streaming(service_fn(|payload| service.clone().bidi(payload)), request)
                        .await
                }
                _ => Status::unimplemented(method).into_http(),
            })
        })
    }
}

impl TestService {
    /// Answers a message with a message.
    async fn unary(self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        let payload = request.into_inner();
        match payload.text.as_str() {
            "fail" => return Err(self.failure()),
            "hang" => self.hang().await,
            _ => {}
        }
        let mut response = Response::new(Payload {
            text: self.tag.to_owned(),
            number: checksum(&payload.content),
            content: pattern(payload.size as usize),
            ..Payload::default()
        });
        response.metadata_mut().insert("server-tag", MetadataValue::from_static(self.tag));
        Ok(response)
    }

    /// Answers with a number of messages, each as soon as flow control has room for it.
    async fn server_stream(
        self,
        request: Request<Payload>,
    ) -> Result<Response<BoxStream<'static, Result<Payload, Status>>>, Status> {
        let payload = request.into_inner();
        let stream = futures_util::stream::unfold(0, move |number| {
            let (service, payload) = (self.clone(), payload.clone());
            async move {
                if number > payload.number {
                    return None;
                }
                if number == payload.number {
                    match payload.text.as_str() {
                        "fail" => return Some((Err(service.failure()), number + 1)),
                        "hang" => service.hang().await,
                        _ => return None,
                    }
                }
                service.record.sent.fetch_add(1, Ordering::Relaxed);
                let text = service.tag.to_owned();
                Some((
                    Ok(Payload { text, number, content: pattern(payload.size as usize), size: 0 }),
                    number + 1,
                ))
            }
        });
        Ok(Response::new(stream.boxed()))
    }

    /// Answers with the number of messages and of their bytes.
    async fn client_stream(
        self,
        request: Request<Streaming<Payload>>,
    ) -> Result<Response<Payload>, Status> {
        let mut stream = request.into_inner();
        let open = OpenCall::new(&self.record);
        let mut sum = Payload::new(self.tag);
        while let Some(payload) = stream.message().await? {
            if payload.text == "hang" {
                pending::<()>().await;
            }
            sum.number += 1;
            sum.size += payload.content.len() as u32;
        }
        open.answered();
        Ok(Response::new(sum))
    }

    /// Answers each message at once.
    async fn bidi(
        self,
        request: Request<Streaming<Payload>>,
    ) -> Result<Response<BoxStream<'static, Result<Payload, Status>>>, Status> {
        let open = OpenCall::new(&self.record);
        let state = (request.into_inner(), open);
        let answers = futures_util::stream::unfold(state, move |(mut stream, open)| {
            let tag = self.tag;
            async move {
                match stream.message().await {
                    Ok(Some(payload)) if payload.text == "hang" => pending().await,
                    Ok(Some(payload)) => Some((
                        Ok(Payload { text: format!("{tag}: {}", payload.text), ..payload }),
                        (stream, open),
                    )),
                    Ok(None) => {
                        open.answered();
                        None
                    }
                    Err(_) => None,
                }
            }
        });
        Ok(Response::new(answers.boxed()))
    }

    /// A status with details and metadata.
    fn failure(&self) -> Status {
        let mut metadata = MetadataMap::new();
        metadata.insert("server-tag", MetadataValue::from_static(self.tag));
        metadata.insert_bin("trace-bin", MetadataValue::from_bytes(&[0, 255, 1]));
        let details = Bytes::from_static(b"\x08\x09\x12\x03why");
        Status::with_details_and_metadata(
            Code::FailedPrecondition,
            "não: 100 %\n",
            details,
            metadata,
        )
    }

    /// Never returns.
    async fn hang(&self) {
        let _open = OpenCall::new(&self.record);
        pending::<()>().await;
    }
}

// === impl OpenCall ===

impl OpenCall {
    fn new(record: &Arc<Record>) -> Self {
        Self { record: Arc::clone(record), is_answered: false }
    }

    fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.record.abandoned.fetch_add((!self.is_answered).into(), Ordering::Relaxed);
    }
}

/// A checksum that depends on the order of the bytes.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
}
