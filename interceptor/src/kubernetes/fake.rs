//! An API server with prepared answers, for tests.

use std::{convert::Infallible, sync::Arc};

use http::{Request, Response};
use kube::{Client, client::Body};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::client::is_watch;

/// Every request so far: method (`WATCH` for a watch) and path.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestLog(Arc<Mutex<Vec<String>>>);

// === impl RequestLog ===

impl RequestLog {
    /// Every request so far, oldest first.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// A client whose requests `answer` answers with a status code and a body.
///
/// It gets method and path of the request, and the number of equal requests before it.
pub(crate) fn client(
    answer: impl Fn(&str, usize) -> (u16, Value) + Clone + Send + Sync + 'static,
) -> (Client, RequestLog) {
    let requests = RequestLog::default();
    let log = requests.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let method = if is_watch(request.uri()) { "WATCH" } else { request.method().as_str() };
        let request = format!("{method} {}", request.uri().path());
        let mut log = log.0.lock();
        let before = log.iter().filter(|one| **one == request).count();
        log.push(request.clone());
        let (code, body) = answer(&request, before);
        async move {
            let body = Body::from(body.to_string().into_bytes());
            let mut response = Response::new(body);
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
            Ok::<_, Infallible>(response)
        }
    });
    (Client::new(service, "default"), requests)
}

/// The API server's answer about an object that does not exist.
pub(crate) fn not_found() -> (u16, Value) {
    (404, status(404, "NotFound"))
}

/// A `Status` object of the API server.
pub(crate) fn status(code: u16, reason: &str) -> Value {
    let status = if code < 300 { "Success" } else { "Failure" };
    json!({
        "kind": "Status", "apiVersion": "v1",
        "status": status, "code": code, "reason": reason, "message": reason,
    })
}
