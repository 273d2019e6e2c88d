//! hyper's server and client, connected in memory.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Saw, line};

/// Maximum time that the server may stay silent, by the runtime's clock. It stands still while a
/// task can run.
const QUIET: Duration = Duration::from_secs(1);

pub(super) fn saw(bytes: &[u8]) -> Saw {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(serve(bytes))
}

async fn serve(bytes: &[u8]) -> Saw {
    let requests = Rc::new(RefCell::new(Vec::new()));
    let broken = Rc::new(Cell::new(false));
    let service = service_fn(|request: Request<Incoming>| {
        let (requests, broken) = (Rc::clone(&requests), Rc::clone(&broken));
        async move {
            let head = format!("{} {}", request.method(), request.uri());
            match request.into_body().collect().await {
                Ok(content) => requests.borrow_mut().push(line(&head, &content.to_bytes())),
                Err(_) => broken.set(true),
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let (client, server) = tokio::io::duplex(1 << 20);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    let (mut read, mut write) = tokio::io::split(client);
    write.write_all(bytes).await.expect("has room");
    let mut answers = Vec::new();
    let served = tokio::select! {
        served = connection => Some(served),
        _ = read.read_to_end(&mut answers) => None,
        () = tokio::time::sleep(QUIET) => None,
    };
    let refused = broken.get() || served.is_some_and(|served| served.is_err());
    Saw { requests: requests.take(), refused }
}

pub(super) fn got(method: &str, bytes: &[u8]) -> Option<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(ask(method, bytes))
}

async fn ask(method: &str, bytes: &[u8]) -> Option<String> {
    let (client, mut server) = tokio::io::duplex(1 << 20);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(client)).await.ok()?;
    let connection = async { connection.await.err() };
    let asking = async {
        let request = Request::builder()
            .method(method)
            .uri("/")
            .body(Empty::<Bytes>::new())
            .expect("a request");
        let response = sender.send_request(request).await.ok()?;
        let status = response.status();
        if status == hyper::StatusCode::SWITCHING_PROTOCOLS {
            return None;
        }
        let content = response.into_body().collect().await.ok()?;
        Some(line(status.as_str(), &content.to_bytes()))
    };
    let serving = async {
        let mut request = [0; 1024];
        let _ = server.read(&mut request).await;
        let _ = server.write_all(bytes).await;
        let _ = server.shutdown().await;
    };
    tokio::join!(connection, asking, serving).1
}
