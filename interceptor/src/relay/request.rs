//! HTTP requests as conditions see them.

use std::cell::OnceCell;

use http::{
    HeaderValue,
    header::{COOKIE, HOST},
    request::Parts,
    uri::{Authority, PathAndQuery},
};
use interceptor_condition::Request;
use interceptor_wire::http1::RequestHead;

/// The head of an HTTP/1 request.
pub(super) struct Http1<'a>(pub(super) &'a RequestHead<'a>);

// === impl Http1 ===

impl Request for Http1<'_> {
    fn method(&self) -> &str {
        self.0.method()
    }

    fn path(&self) -> &str {
        self.0.path()
    }

    fn host(&self) -> Option<&str> {
        self.0.host()
    }

    fn scheme(&self) -> &str {
        // Requests inside TLS are not visible.
        "http"
    }

    fn protocol(&self) -> &str {
        self.0.version.as_str()
    }

    fn header_values<'a>(&'a self, name: &str, each: &mut dyn FnMut(&'a [u8])) {
        self.0.header_values(name, each);
    }
}

/// The head of an HTTP/2 request.
pub(super) struct Http2<'a> {
    head: &'a Parts,
    /// The header that a client may split into several fields `cookie`, joined again (RFC 9113,
    /// section 8.2.3).
    cookie: OnceCell<Vec<u8>>,
}

// === impl Http2 ===

impl<'a> Http2<'a> {
    pub(super) fn new(head: &'a Parts) -> Self {
        Self { head, cookie: OnceCell::new() }
    }

    fn cookie(&self) -> &[u8] {
        self.cookie.get_or_init(|| {
            let crumbs = self.head.headers.get_all(COOKIE).into_iter();
            crumbs.map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..])
        })
    }
}

impl Request for Http2<'_> {
    fn method(&self) -> &str {
        self.head.method.as_str()
    }

    fn path(&self) -> &str {
        // CONNECT has no path.
        self.head.uri.path_and_query().map_or("", PathAndQuery::as_str)
    }

    fn host(&self) -> Option<&str> {
        let header = || self.head.headers.get(HOST).and_then(|host| host.to_str().ok());
        self.head.uri.authority().map(Authority::as_str).or_else(header)
    }

    fn scheme(&self) -> &str {
        self.head.uri.scheme_str().unwrap_or("http")
    }

    fn protocol(&self) -> &str {
        "HTTP/2"
    }

    fn header_values<'a>(&'a self, name: &str, each: &mut dyn FnMut(&'a [u8])) {
        let mut values = self.head.headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
        match (values.next(), values.size_hint()) {
            (Some(_), (1.., _)) if name == "cookie" => each(self.cookie()),
            (first, _) => first.into_iter().chain(values).for_each(each),
        }
    }
}
