//! An API server that answers by heart.

use std::{convert::Infallible, sync::Arc};

use http::{Request, Response};
use kube::{Client, client::Body};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::client::is_watch;

/// What was asked so far: method (of a watch, `WATCH`) and path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<String>>>);

// === impl Asked ===

impl Asked {
    /// All of it, in order.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// A client whose questions are answered by `answer`: it gets method and path, and how often that was asked before.
pub(crate) fn client(
    answer: impl Fn(&str, usize) -> (u16, Value) + Clone + Send + Sync + 'static,
) -> (Client, Asked) {
    let asked = Asked::default();
    let log = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let method = if is_watch(request.uri()) { "WATCH" } else { request.method().as_str() };
        let question = format!("{method} {}", request.uri().path());
        let mut log = log.0.lock();
        let before = log.iter().filter(|asked| **asked == question).count();
        log.push(question.clone());
        let (code, body) = answer(&question, before);
        async move {
            let body = Body::from(body.to_string().into_bytes());
            let mut response = Response::new(body);
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
            Ok::<_, Infallible>(response)
        }
    });
    (Client::new(service, "default"), asked)
}

/// What the API server says of what is not there.
pub(crate) fn not_found() -> (u16, Value) {
    (404, status(404, "NotFound"))
}

/// A status of the API server.
pub(crate) fn status(code: u16, reason: &str) -> Value {
    let status = if code < 300 { "Success" } else { "Failure" };
    json!({ "kind": "Status", "apiVersion": "v1", "status": status, "code": code, "reason": reason, "message": reason })
}
