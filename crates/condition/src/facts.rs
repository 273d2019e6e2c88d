//! What a condition is asked about.

use std::net::SocketAddr;

/// What is known of a connection, and of the request on it.
///
/// It may be less than the condition needs: what is not known is an error where it is looked at, as a missing header
/// is, and `false && x` is false all the same. Therefore an answer (`Ok`) never changes as more becomes known.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The caller's address.
    pub source: SocketAddr,
    /// The address that was called.
    pub destination: SocketAddr,
    /// The name that the caller's TLS asks for. `None`: not known (yet). `Some("")`: there is none, because it isn't TLS
    /// or its ClientHello has no name (RFC 6066 section 3); Envoy gives the empty string as well.
    pub server_name: Option<&'a str>,
    /// The head of the request, if there is one.
    pub request: Option<&'a dyn Request>,
}

/// The head of an HTTP request. A condition reads only what it mentions.
pub trait Request {
    /// As it was sent, such as `GET`.
    fn method(&self) -> &str;

    /// The request target (RFC 9112 section 3.2) or `:path`, with the query.
    fn path(&self) -> &str;

    /// `:authority`, else the header `Host`, as it was sent; with the port if that was sent.
    fn host(&self) -> Option<&str>;

    /// `http` or `https`.
    fn scheme(&self) -> &str;

    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    fn protocol(&self) -> &str;

    /// Calls `each` with the value of each header `name`, in order. `name` is in lower case, headers may be in any.
    fn header_values<'a>(&'a self, name: &str, each: &mut dyn FnMut(&'a [u8]));
}
