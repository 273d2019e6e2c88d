//! HTTP/1 requests as conditions see them.

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
