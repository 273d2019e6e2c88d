//! The head of an HTTP/2 request as conditions see it.

use std::cell::OnceCell;

use interceptor_condition::Request;
use interceptor_wire::http2::hpack::Fields;

/// The fields of a request's header block. Values that are no UTF-8 read as empty where a condition
/// sees text.
pub(super) struct Head<'a> {
    fields: &'a Fields,
    /// The header that a client may split into several fields `cookie`, joined again (RFC 9113,
    /// section 8.2.3).
    cookie: OnceCell<Vec<u8>>,
}

// === impl Head ===

impl<'a> Head<'a> {
    pub(super) fn new(fields: &'a Fields) -> Self {
        Self { fields, cookie: OnceCell::new() }
    }

    fn text(&self, name: &[u8]) -> Option<&str> {
        self.fields.value(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.fields.iter();
        fields.filter(move |field| field.name == name.as_bytes()).map(|field| field.value)
    }

    fn cookie(&self) -> &[u8] {
        self.cookie.get_or_init(|| self.values("cookie").collect::<Vec<_>>().join(&b"; "[..]))
    }
}

impl Request for Head<'_> {
    fn method(&self) -> &str {
        self.text(b":method").unwrap_or_default()
    }

    fn path(&self) -> &str {
        // CONNECT has no path.
        self.text(b":path").unwrap_or_default()
    }

    fn host(&self) -> Option<&str> {
        self.text(b":authority").or_else(|| self.text(b"host"))
    }

    fn scheme(&self) -> &str {
        self.text(b":scheme").unwrap_or("http")
    }

    fn protocol(&self) -> &str {
        "HTTP/2"
    }

    fn header_values<'a>(&'a self, name: &str, each: &mut dyn FnMut(&'a [u8])) {
        if name == "cookie" && self.values(name).nth(1).is_some() {
            return each(self.cookie());
        }
        self.values(name).for_each(each);
    }
}
