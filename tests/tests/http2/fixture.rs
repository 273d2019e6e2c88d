//! A pod whose port 8080 has a rule with a condition, its app and a developer's server, all of them speaking HTTP/2.

use std::{future::Future, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::{RecvStream, SendStream, client};
use http::{HeaderMap, Request, Response};
use testbed::{Daemon, Namespace, Topology, netns_test, workload};
use tokio::{net::TcpStream, runtime, task::JoinHandle, time::timeout};

use crate::server::{Server, read_text, send_all};

/// Longer than anything here takes.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Fixture<'t> {
    pub(crate) t: &'t Topology,
    pub(crate) pod: Namespace,
    pub(crate) laptop: Namespace,
    pub(crate) client: Namespace,
}

/// A caller's connection.
pub(crate) struct Call {
    pub(crate) sender: client::SendRequest<Bytes>,
    /// Ends with the connection.
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
}

/// An answer that is complete.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    pub(crate) text: String,
    pub(crate) trailers: Option<HeaderMap>,
}

/// Plays one test in namespaces of its own.
pub(crate) fn run(title: &str, body: impl FnOnce(Fixture<'_>) -> Result<()>) {
    netns_test(title, |t| {
        body(Fixture {
            t,
            pod: t.pod("web")?,
            laptop: t.host("laptop")?,
            client: t.host("client")?,
        })
    });
}

/// Runs what a caller does.
pub(crate) fn calling<T>(body: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { timeout(TIMEOUT, body).await.context("it takes too long")? })
}

impl Fixture<'_> {
    /// Requests with `x-user: debug` are the developer's.
    pub(crate) fn rule(&self) -> String {
        format!("8080 -> {}:3000 when request.headers['x-user'] == 'debug'", self.laptop.ip4())
    }

    pub(crate) fn daemon(&self) -> Result<Daemon> {
        self.daemon_with(&self.rule())
    }

    pub(crate) fn daemon_with(&self, rule: &str) -> Result<Daemon> {
        let daemon = Daemon::start(self.t, &workload(&self.pod, rule), &[])?;
        daemon.wait_active("web")?;
        Ok(daemon)
    }

    pub(crate) fn app(&self) -> Result<Server> {
        Server::start(&self.pod, 8080, "app")
    }

    pub(crate) fn target(&self) -> Result<Server> {
        Server::start(&self.laptop, 3000, "laptop")
    }

    pub(crate) fn tcp(&self) -> Result<std::net::TcpStream> {
        let to = (self.pod.ip4(), 8080);
        let stream = self.client.run(|| std::net::TcpStream::connect(to))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    pub(crate) async fn call(&self) -> Result<Call> {
        self.call_with(&client::Builder::new()).await
    }

    pub(crate) async fn call_with(&self, builder: &client::Builder) -> Result<Call> {
        let stream = self.tcp()?;
        stream.set_nonblocking(true)?;
        let (sender, connection) = builder.handshake(TcpStream::from_std(stream)?).await?;
        Ok(Call { sender, connection: tokio::spawn(connection) })
    }
}

/// The head of a request, by a developer or by anybody.
pub(crate) fn head(path: &str, is_debug: bool) -> Request<()> {
    let request = Request::builder().uri(format!("http://web{path}"));
    let request = if is_debug { request.header("x-user", "debug") } else { request };
    request.body(()).expect("a request")
}

impl Call {
    /// The same connection, for another stream at the same time.
    pub(crate) fn again(&self) -> Self {
        Self { sender: self.sender.clone(), connection: tokio::spawn(async { Ok(()) }) }
    }

    /// Opens a stream.
    pub(crate) async fn open(
        &mut self,
        request: Request<()>,
        is_all: bool,
    ) -> Result<(client::ResponseFuture, SendStream<Bytes>)> {
        self.sender = self.sender.clone().ready().await?;
        Ok(self.sender.send_request(request, is_all)?)
    }

    /// A request without content, and its answer.
    pub(crate) async fn get(&mut self, path: &str, is_debug: bool) -> Result<Answer> {
        let (response, _) = self.open(head(path, is_debug), true).await?;
        answer(response).await
    }

    /// A request with content, and its answer.
    pub(crate) async fn post(&mut self, path: &str, is_debug: bool, body: Bytes) -> Result<Answer> {
        let mut request = head(path, is_debug);
        *request.method_mut() = http::Method::POST;
        let (response, mut up) = self.open(request, false).await?;
        let (sent, answer) = tokio::join!(send_all(&mut up, body, true), answer(response));
        sent?;
        answer
    }
}

pub(crate) async fn answer(response: client::ResponseFuture) -> Result<Answer> {
    let (head, mut body): (_, RecvStream) = response.await?.into_parts();
    let (text, trailers) = read_text(&mut body).await?;
    Ok(Answer { head: Response::from_parts(head, ()), text, trailers })
}

impl Answer {
    /// Whose it is.
    pub(crate) fn tag(&self) -> &str {
        self.head.headers().get("server-tag").and_then(|tag| tag.to_str().ok()).unwrap_or_default()
    }
}
