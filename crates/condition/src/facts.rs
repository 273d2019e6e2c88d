//! The input of an evaluation: a connection and the request on it.

use std::net::SocketAddr;

/// The known facts of a connection, and of the request on it.
///
/// Facts may be missing. Using an unknown fact is an error, as using a missing header is, and
/// `false && x` is false all the same. So a result (`Ok`) never changes when more becomes known.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The client's address.
    pub source: SocketAddr,
    /// The address that the client connected to.
    pub destination: SocketAddr,
    /// The server name in the client's TLS ClientHello (RFC 6066 section 3).
    ///
    /// `None`: not known yet. `Some("")`: the connection is not TLS, or its ClientHello has no
    /// name. Envoy uses the empty string for that, too.
    pub server_name: Option<&'a str>,
    /// The head of the request. `None`: not known yet, or the connection is not HTTP.
    pub request: Option<&'a dyn Request>,
}

/// The head of an HTTP request. A condition calls only the methods for the attributes it uses.
pub trait Request {
    /// The method as sent, such as `GET`.
    fn method(&self) -> &str;

    /// The request target (RFC 9112 section 3.2) or `:path`, with the query.
    fn path(&self) -> &str;

    /// `:authority`, or else the header `Host`, as sent. It has a port if the client sent one.
    fn host(&self) -> Option<&str>;

    /// `http` or `https`.
    fn scheme(&self) -> &str;

    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    fn protocol(&self) -> &str;

    /// Calls `each` with the value of each header `name`, in order.
    ///
    /// `name` is lower-case. The request's header names may have any case.
    fn header_values<'a>(&'a self, name: &str, each: &mut dyn FnMut(&'a [u8]));
}
