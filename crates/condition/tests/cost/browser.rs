//! A request as browsers send it.

use interceptor_condition::Request;

/// The head of a browser's `GET`.
pub(crate) struct Browser {
    /// Names in any case, with their values.
    pub(crate) headers: Vec<(&'static str, &'static [u8])>,
}

const HEADERS: [(&str, &[u8]); 11] = [
    ("Host", b"shop.example"),
    ("User-Agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", b"en-US,en;q=0.5"),
    ("Accept-Encoding", b"gzip, deflate, br, zstd"),
    ("Referer", b"https://shop.example/"),
    ("Cookie", b"session=2c1f6f0e; theme=dark"),
    ("X-Forwarded-For", b"203.0.113.9"),
    ("X-Real-Ip", b"203.0.113.9"),
    ("X-Request-Id", b"5b2c7a2e-7a52-4f2e-8c3d-111111111111"),
    ("Traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
];

impl Browser {
    /// A head with the usual headers, followed by `more`.
    pub(crate) fn with(more: impl IntoIterator<Item = (&'static str, &'static [u8])>) -> Self {
        Self { headers: HEADERS.into_iter().chain(more).collect() }
    }
}

impl Request for Browser {
    fn method(&self) -> &str {
        "GET"
    }

    fn path(&self) -> &str {
        "/shop/cart?item=7"
    }

    fn host(&self) -> Option<&str> {
        Some("shop.example")
    }

    fn scheme(&self) -> &str {
        "http"
    }

    fn protocol(&self) -> &str {
        "HTTP/1.1"
    }

    fn header_values<'a>(&'a self, name: &str, each: &mut dyn FnMut(&'a [u8])) {
        for (_, value) in self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name))
        {
            each(value);
        }
    }
}
