//! HTTP/1 for tests: a server that echoes requests, a client that sends any bytes, and readers of
//! message heads and bodies.

mod client;
mod message;
mod server;

pub use self::{
    client::{HttpClient, HttpResponse},
    message::{RequestHead, ResponseHead},
    server::HttpEchoServer,
};
