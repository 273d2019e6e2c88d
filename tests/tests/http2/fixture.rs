//! Fixture and client of the HTTP/2 tests.

use anyhow::Result;
use bytes::Bytes;
use h2::{RecvStream, SendStream, client};
use http::{HeaderMap, Request, Response};
use interceptor_tests::{DEBUG_HEADER, Hosts};
use testbed::{Daemon, netns_test};
use tokio::{net::TcpStream, task::JoinHandle};

use crate::server::{Server, read_text, send_all};

/// A pod with a port for HTTP/2, the laptop and a client.
pub(crate) struct Fixture<'t> {
    pub(crate) hosts: Hosts<'t>,
}

/// A connection of a client.
pub(crate) struct Client {
    pub(crate) sender: client::SendRequest<Bytes>,
    /// The task of the connection; it ends with the connection.
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct FullResponse {
    pub(crate) head: Response<()>,
    pub(crate) text: String,
    pub(crate) trailers: Option<HeaderMap>,
}

/// Runs one test in a fixture of its own.
pub(crate) fn run(title: &str, body: impl FnOnce(Fixture<'_>) -> Result<()>) {
    netns_test(title, |t| body(Fixture { hosts: Hosts::new(t)? }));
}

impl Fixture<'_> {
    /// Starts the daemon with the debug rule.
    pub(crate) fn daemon(&self) -> Result<Daemon> {
        self.daemon_with(&self.hosts.debug_rule(8080, 3000))
    }

    /// Starts the daemon with a rule, and waits until the rule is active.
    pub(crate) fn daemon_with(&self, rule: &str) -> Result<Daemon> {
        Daemon::start_active(self.hosts.t, &self.hosts.pod, rule)
    }

    /// Starts the app of the pod.
    pub(crate) fn app(&self) -> Result<Server> {
        Server::start(&self.hosts.pod, 8080, "app")
    }

    /// Starts the target on the laptop.
    pub(crate) fn target(&self) -> Result<Server> {
        Server::start(&self.hosts.laptop, 3000, "laptop")
    }

    /// Opens a TCP connection to the pod's port.
    pub(crate) fn tcp(&self) -> Result<std::net::TcpStream> {
        let to = (self.hosts.pod.ip4(), 8080);
        let stream = self.hosts.client.run(|| std::net::TcpStream::connect(to))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Opens an HTTP/2 connection to the pod's port.
    pub(crate) async fn connect(&self) -> Result<Client> {
        self.connect_with(&client::Builder::new()).await
    }

    /// As [`connect`](Self::connect), with other settings.
    pub(crate) async fn connect_with(&self, builder: &client::Builder) -> Result<Client> {
        let stream = self.tcp()?;
        stream.set_nonblocking(true)?;
        let (sender, connection) = builder.handshake(TcpStream::from_std(stream)?).await?;
        Ok(Client { sender, connection: tokio::spawn(connection) })
    }
}

/// The head of a request, with the header of the debug rule or without.
pub(crate) fn request(path: &str, is_debug: bool) -> Request<()> {
    let request = Request::builder().uri(format!("http://web{path}"));
    let (name, value) = DEBUG_HEADER.split_once(": ").expect("a header");
    let request = if is_debug { request.header(name, value) } else { request };
    request.body(()).expect("a request")
}

impl Client {
    /// A second handle to the connection, for a stream at the same time.
    pub(crate) fn share(&self) -> Self {
        Self { sender: self.sender.clone(), connection: tokio::spawn(async { Ok(()) }) }
    }

    /// Opens a stream with the head of a request. `is_all` ends the request.
    pub(crate) async fn open(
        &mut self,
        request: Request<()>,
        is_all: bool,
    ) -> Result<(client::ResponseFuture, SendStream<Bytes>)> {
        self.sender = self.sender.clone().ready().await?;
        Ok(self.sender.send_request(request, is_all)?)
    }

    /// Sends a request without content, and reads the response.
    pub(crate) async fn get(&mut self, path: &str, is_debug: bool) -> Result<FullResponse> {
        let (response, _) = self.open(request(path, is_debug), true).await?;
        read_response(response).await
    }

    /// Sends a request with content, and reads the response.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        is_debug: bool,
        body: Bytes,
    ) -> Result<FullResponse> {
        let mut request = request(path, is_debug);
        *request.method_mut() = http::Method::POST;
        let (response, mut up) = self.open(request, false).await?;
        let (sent, answer) = tokio::join!(send_all(&mut up, body, true), read_response(response));
        sent?;
        answer
    }
}

/// Reads a complete response.
pub(crate) async fn read_response(response: client::ResponseFuture) -> Result<FullResponse> {
    let (head, mut body): (_, RecvStream) = response.await?.into_parts();
    let (text, trailers) = read_text(&mut body).await?;
    Ok(FullResponse { head: Response::from_parts(head, ()), text, trailers })
}

impl FullResponse {
    /// The name of the server.
    pub(crate) fn tag(&self) -> &str {
        self.head.headers().get("server-tag").and_then(|tag| tag.to_str().ok()).unwrap_or_default()
    }
}
