//! The client for the API server. Every request is counted.

use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{Method, Request, Response, Uri};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use parking_lot::Mutex;
use tower::{Layer, Service};

/// The number of requests to the API server, by kind.
#[derive(Debug, Default)]
pub struct Requests(Mutex<BTreeMap<RequestKind, u64>>);

/// What a request asked for, and the answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestKind {
    /// The verb, as RBAC calls it.
    pub verb: &'static str,
    /// The resource, as RBAC calls it: `pods`, `pods/status`.
    pub resource: String,
    /// The status code of the answer; `error` if there was none.
    pub code: String,
}

/// Maximum time without an answer, or without an event on a watch.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum time for the API server to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for the API server that this process is configured for: by the service account in a
/// pod, by the kubeconfig elsewhere.
///
/// # Errors
/// Neither configuration exists, or it is invalid.
pub async fn connect(requests: Arc<Requests>) -> anyhow::Result<Client> {
    build(Config::infer().await?, requests)
}

fn build(mut config: Config, requests: Arc<Requests>) -> anyhow::Result<Client> {
    // A watch receives a bookmark every minute. One without any has lost its server unnoticed.
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // The sender of a request decides about retries. Retries in the client would not be counted,
    // and may sleep for the time of a `Retry-After` header.
    config.default_retry = false;
    Ok(ClientBuilder::try_from(config)?.with_layer(&Counting(requests)).build())
}

// === impl Requests ===

impl Requests {
    /// Every kind of request that occurred, with its number.
    #[must_use]
    pub fn counts(&self) -> Vec<(RequestKind, u64)> {
        self.0.lock().iter().map(|(kind, count)| (kind.clone(), *count)).collect()
    }

    fn count(&self, kind: RequestKind) {
        *self.0.lock().entry(kind).or_default() += 1;
    }
}

/// The verb and the resource of a request, as RBAC calls them. Names of objects are left out, so
/// there are few resources.
fn classify(method: &Method, uri: &Uri) -> (&'static str, String) {
    let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    // /api/v1/… or /apis/GROUP/VERSION/…, then perhaps namespaces/NAME/…, then
    // RESOURCE[/NAME[/SUBRESOURCE]].
    let rest = match parts.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        _ => &[],
    };
    let rest = match rest {
        ["namespaces", _, resource @ ..] if !resource.is_empty() => resource,
        rest => rest,
    };
    let (resource, named) = match rest {
        [resource, _, subresource, ..] => (format!("{resource}/{subresource}"), true),
        [resource, _] => ((*resource).to_owned(), true),
        [resource] => ((*resource).to_owned(), false),
        [] => ("other".to_owned(), false),
    };
    let verb = match *method {
        Method::GET if is_watch(uri) => "watch",
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PATCH => "patch",
        Method::PUT => "update",
        Method::DELETE => "delete",
        _ => "other",
    };
    (verb, resource)
}

/// Whether a `GET` of this URI is a watch.
pub(super) fn is_watch(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|pair| pair == "watch=true" || pair == "watch=1")
}

/// Adds [`Counted`] to a service.
#[derive(Clone, Debug)]
struct Counting(Arc<Requests>);

/// A service whose requests are counted.
#[derive(Clone, Debug)]
struct Counted<S> {
    inner: S,
    requests: Arc<Requests>,
}

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Counted { inner, requests: Arc::clone(&self.0) }
    }
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (verb, resource) = classify(request.method(), request.uri());
        let requests = Arc::clone(&self.requests);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = match &answer {
                Ok(response) => response.status().as_u16().to_string(),
                Err(_) => "error".to_owned(),
            };
            requests.count(RequestKind { verb, resource, code });
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        http::{StatusCode, header::RETRY_AFTER},
        routing::get,
    };
    use k8s_openapi::api::core::v1::Pod;
    use kube::{Api, api::ListParams};
    use rstest::rstest;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn each_request_is_sent_once_and_counted_once_even_if_it_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its number");
        let throttled =
            || async { (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "1")], "not now") };
        let server = Router::new().route("/api/v1/pods", get(throttled));
        tokio::spawn(async { axum::serve(listener, server).await });
        let url = format!("http://{address}").parse().expect("a URL");
        let requests = Arc::<Requests>::default();
        let client = build(Config::new(url), Arc::clone(&requests)).expect("a client");
        let (pods, all) = (Api::<Pod>::all(client), ListParams::default());
        let answer = tokio::time::timeout(Duration::from_millis(900), pods.list(&all)).await;
        let answer = answer.expect("an answer without retries");
        assert!(answer.is_err(), "{answer:?}");
        let kind = RequestKind { verb: "list", resource: "pods".into(), code: "429".into() };
        assert_eq!(requests.counts(), [(kind, 1)]);
    }

    #[rstest]
    #[case("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Da&limit=500", "list", "pods")]
    #[case("GET", "/api/v1/pods?watch=true&fieldSelector=x", "watch", "pods")]
    #[case("GET", "/api/v1/namespaces?watch=true", "watch", "namespaces")]
    #[case("GET", "/api/v1/namespaces/shop", "get", "namespaces")]
    #[case(
        "PATCH",
        "/api/v1/namespaces/shop/pods/web/status?fieldManager=i",
        "patch",
        "pods/status"
    )]
    #[case("POST", "/apis/events.k8s.io/v1/namespaces/shop/events", "create", "events")]
    #[case("GET", "/version", "list", "other")]
    fn requests_are_named_as_in_rbac(
        #[case] method: Method,
        #[case] uri: Uri,
        #[case] verb: &str,
        #[case] resource: &str,
    ) {
        assert_eq!(classify(&method, &uri), (verb, resource.to_owned()));
    }
}
