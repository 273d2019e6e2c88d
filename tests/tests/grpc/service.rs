//! A gRPC service with all four kinds of call, written by hand as a generated one would be, and what it saw.

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
use interceptor_tests::Background;
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

/// Larger than any message here, in bytes.
pub(crate) const LIMIT: usize = 32 << 20;

/// The one message that there is.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Payload {
    /// What is wanted, or who answers.
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) content: Bytes,
    /// How many messages.
    #[prost(uint32, tag = "3")]
    pub(crate) number: u32,
    /// Of the content of each that is sent, in bytes.
    #[prost(uint32, tag = "4")]
    pub(crate) size: u32,
}

/// What a server saw.
#[derive(Default)]
pub(crate) struct Seen {
    connections: AtomicU64,
    calls: Mutex<Vec<MetadataMap>>,
    /// Messages that were sent in answer to `Count`.
    counted: AtomicU64,
    /// Calls that ended before they were answered.
    abandoned: AtomicU64,
}

/// A gRPC server. It ends, and so do its connections, when dropped.
pub(crate) struct Server {
    pub(crate) seen: Arc<Seen>,
    /// What its health service says.
    pub(crate) health: watch::Sender<ServingStatus>,
    _serving: Background,
}

/// The service itself.
#[derive(Clone)]
struct StreamService {
    tag: &'static str,
    seen: Arc<Seen>,
}

/// A call that has not been answered. The library calls it the end of a stream when its caller has reset it: so the calls
/// that are to be abandoned wait for nothing.
struct Open {
    seen: Arc<Seen>,
    is_answered: bool,
}

// === impl Payload ===

impl Payload {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }
}

// === impl Seen ===

impl Seen {
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn calls(&self) -> MutexGuard<'_, Vec<MetadataMap>> {
        self.calls.lock()
    }

    pub(crate) fn counted(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }

    pub(crate) fn abandoned(&self) -> u64 {
        self.abandoned.load(Ordering::Relaxed)
    }
}

// === impl Server ===

impl Server {
    /// Listens on `port`, answering as `tag`.
    pub(crate) fn start(netns: &Namespace, port: u16, tag: &'static str) -> Result<Self> {
        Self::adapted(netns, port, tag, |server| server)
    }

    /// One with other settings.
    pub(crate) fn adapted(
        netns: &Namespace,
        port: u16,
        tag: &'static str,
        adapt: impl FnOnce(transport::Server) -> transport::Server,
    ) -> Result<Self> {
        let server = adapt(transport::Server::builder());
        let seen = Arc::<Seen>::default();
        let (health, healths) = watch::channel(ServingStatus::Serving);
        let talk = StreamService { tag, seen: Arc::clone(&seen) };
        let serving =
            Background::serve(netns, port, move |listener| serve(server, listener, talk, healths))?;
        Ok(Self { seen, health, _serving: serving })
    }

    /// Connections end with the process's.
    pub(crate) fn die(self) {}
}

async fn serve(
    mut server: transport::Server,
    listener: TcpListener,
    talk: StreamService,
    mut healths: watch::Receiver<ServingStatus>,
) {
    let seen = Arc::clone(&talk.seen);
    let incoming = TcpListenerStream::new(listener).inspect(move |_| {
        seen.connections.fetch_add(1, Ordering::Relaxed);
    });
    let (reporter, health) = health_reporter();
    tokio::spawn(async move {
        while healths.changed().await.is_ok() {
            let status = *healths.borrow_and_update();
            reporter.set_service_status("", status).await;
        }
    });
    let router = server.add_service(talk).add_service(health);
    router.serve_with_incoming(incoming).await.expect("it serves");
}

// === impl StreamService ===

impl NamedService for StreamService {
    const NAME: &'static str = "tests.Streams";
}

impl Service<http::Request<Body>> for StreamService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let talk = self.clone();
        let codec = ProstCodec::<Payload, Payload>::default();
        let mut grpc =
            Grpc::new(codec).max_decoding_message_size(LIMIT).max_encoding_message_size(LIMIT);
        talk.seen.calls().push(MetadataMap::from_headers(request.headers().clone()));
        Box::pin(async move {
            let method = request.uri().path().to_owned();
            Ok(match method.as_str() {
                "/tests.Streams/Say" => {
                    grpc.unary(service_fn(|words| talk.clone().say(words)), request).await
                }
                "/tests.Streams/Count" => {
                    grpc.server_streaming(service_fn(|words| talk.clone().count(words)), request)
                        .await
                }
                "/tests.Streams/Gather" => {
                    grpc.client_streaming(service_fn(|words| talk.clone().gather(words)), request)
                        .await
                }
                "/tests.Streams/Chat" => {
                    grpc.streaming(service_fn(|words| talk.clone().chat(words)), request).await
                }
                _ => Status::unimplemented(method).into_http(),
            })
        })
    }
}

impl StreamService {
    /// One message for one message.
    async fn say(self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        let words = request.into_inner();
        match words.text.as_str() {
            "fail" => return Err(self.failure()),
            "hang" => self.hang().await,
            _ => {}
        }
        let mut response = Response::new(Payload {
            text: self.tag.to_owned(),
            number: checksum(&words.content),
            content: pattern(words.size),
            ..Payload::default()
        });
        response.metadata_mut().insert("server-tag", MetadataValue::from_static(self.tag));
        Ok(response)
    }

    /// As many messages as are wanted, each when the one before has room to be sent.
    async fn count(
        self,
        request: Request<Payload>,
    ) -> Result<Response<BoxStream<'static, Result<Payload, Status>>>, Status> {
        let words = request.into_inner();
        let stream = futures_util::stream::unfold(0, move |number| {
            let (talk, words) = (self.clone(), words.clone());
            async move {
                if number > words.number {
                    return None;
                }
                if number == words.number {
                    match words.text.as_str() {
                        "fail" => return Some((Err(talk.failure()), number + 1)),
                        "hang" => talk.hang().await,
                        _ => return None,
                    }
                }
                talk.seen.counted.fetch_add(1, Ordering::Relaxed);
                let text = talk.tag.to_owned();
                Some((
                    Ok(Payload { text, number, content: pattern(words.size), size: 0 }),
                    number + 1,
                ))
            }
        });
        Ok(Response::new(stream.boxed()))
    }

    /// How many messages there were, and of how many bytes.
    async fn gather(
        self,
        request: Request<Streaming<Payload>>,
    ) -> Result<Response<Payload>, Status> {
        let mut stream = request.into_inner();
        let open = Open::new(&self.seen);
        let mut sum = Payload::new(self.tag);
        while let Some(words) = stream.message().await? {
            if words.text == "hang" {
                pending::<()>().await;
            }
            sum.number += 1;
            sum.size += words.content.len() as u32;
        }
        open.answered();
        Ok(Response::new(sum))
    }

    /// Each message is answered at once.
    async fn chat(
        self,
        request: Request<Streaming<Payload>>,
    ) -> Result<Response<BoxStream<'static, Result<Payload, Status>>>, Status> {
        let open = Open::new(&self.seen);
        let state = (request.into_inner(), open);
        let answers = futures_util::stream::unfold(state, move |(mut stream, open)| {
            let tag = self.tag;
            async move {
                match stream.message().await {
                    Ok(Some(words)) if words.text == "hang" => pending().await,
                    Ok(Some(words)) => Some((
                        Ok(Payload { text: format!("{tag}: {}", words.text), ..words }),
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

    async fn hang(&self) {
        let _open = Open::new(&self.seen);
        pending::<()>().await;
    }
}

// === impl Open ===

impl Open {
    fn new(seen: &Arc<Seen>) -> Self {
        Self { seen: Arc::clone(seen), is_answered: false }
    }

    fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.seen.abandoned.fetch_add((!self.is_answered).into(), Ordering::Relaxed);
    }
}

/// Bytes that tell where they were cut off or changed.
pub(crate) fn pattern(n: u32) -> Bytes {
    (0..n).map(|n| (n % 251) as u8).collect()
}

/// A sum of bytes that tells their order.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
}
