//! The API server, and the count of what it is asked.

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

/// Requests to the API server, by what was asked and what it answered.
#[derive(Debug, Default)]
pub struct Requests(Mutex<BTreeMap<Kind, u64>>);

/// One kind of request: verb and resource as in RBAC, and the status code (`error` without an answer).
type Kind = (&'static str, String, String);

/// No answer, and nothing on a watch, for this long.
const SILENCE: Duration = Duration::from_secs(120);
/// An API server that does not even take a connection is tried again after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for the API server that this process is configured for: the service account's in a pod, else the
/// kubeconfig's.
///
/// # Errors
/// When neither is there, or can't be read.
pub async fn connect(requests: Arc<Requests>) -> anyhow::Result<Client> {
    build(Config::infer().await?, requests)
}

fn build(mut config: Config, requests: Arc<Requests>) -> anyhow::Result<Client> {
    // A watch has a bookmark a minute: one that is silent for longer has lost its server without being told.
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // Who asks also decides when to ask again: retries underneath would be neither counted nor told of, and may sleep for
    // as long as a `Retry-After` says.
    config.default_retry = false;
    Ok(ClientBuilder::try_from(config)?.with_layer(&Counting(requests)).build())
}

// === impl Requests ===

impl Requests {
    /// Every kind of request so far with its count: verb, resource, code.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, String, String, u64)> {
        let counts = self.0.lock();
        counts
            .iter()
            .map(|((verb, resource, code), n)| (*verb, resource.clone(), code.clone(), *n))
            .collect()
    }

    fn count(&self, verb: &'static str, resource: String, code: String) {
        *self.0.lock().entry((verb, resource, code)).or_default() += 1;
    }
}

/// The verb and the resource of a request, as RBAC calls them. The number of resources is that of the API's kinds.
fn classify(method: &Method, uri: &Uri) -> (&'static str, String) {
    let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    // /api/v1/… or /apis/GROUP/VERSION/…, then maybe namespaces/NAME/…, then RESOURCE[/NAME[/SUBRESOURCE]].
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

/// Whether a `GET` of this is a watch.
pub(super) fn is_watch(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|pair| pair == "watch=true" || pair == "watch=1")
}

/// Counts what passes.
#[derive(Clone, Debug)]
struct Counting(Arc<Requests>);

/// [`Counting`] around a service.
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
            requests.count(verb, resource, code);
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
    async fn each_request_is_made_once_and_counted_once_whatever_is_answered() {
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
        let answer = answer.expect("an answer at once");
        assert!(answer.is_err(), "{answer:?}");
        assert_eq!(requests.counts(), [("list", "pods".to_owned(), "429".to_owned(), 1)]);
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
