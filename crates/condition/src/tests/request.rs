//! A request for the tests.

use std::net::SocketAddr;

use crate::{Facts, Request};

/// A request whose parts a test chooses.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) host: Option<String>,
    pub(super) protocol: &'static str,
    /// Names in any case, with their values.
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

impl Made {
    /// `GET /shop/cart?item=7&x=a%20b` by HTTP/1.1 to `shop.example:8080`, with these headers.
    pub(super) fn with(headers: &[(&str, &[u8])]) -> Self {
        let headers =
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        Self {
            method: "GET".to_owned(),
            path: "/shop/cart?item=7&x=a%20b".to_owned(),
            host: Some("shop.example:8080".to_owned()),
            protocol: "HTTP/1.1",
            headers,
        }
    }

    /// This request on a connection from 10.1.2.3:40000 to 10.20.0.1:8080 without TLS.
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            source: SocketAddr::from(([10, 1, 2, 3], 40_000)),
            destination: SocketAddr::from(([10, 20, 0, 1], 8080)),
            server_name: Some(""),
            request: Some(self),
        }
    }
}

impl Request for Made {
    fn method(&self) -> &str {
        &self.method
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    fn scheme(&self) -> &str {
        "http"
    }

    fn protocol(&self) -> &str {
        self.protocol
    }

    fn header_values<'a>(&'a self, name: &str, each: &mut dyn FnMut(&'a [u8])) {
        for (_, value) in self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name))
        {
            each(value);
        }
    }
}
