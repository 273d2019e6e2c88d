//! Redirects: which connections they take, from their start to their end. Each test is one promise.

#![forbid(unsafe_code)]

mod end;
mod loops;
mod names;
mod namespaces;
mod scope;
mod start;
mod workloads_file;

use std::net::SocketAddr;

use testbed::{Namespace, TcpState, tcp_sockets};

/// The addresses of all listening TCP sockets of a namespace.
fn listeners(netns: &Namespace) -> Vec<SocketAddr> {
    let sockets = tcp_sockets(netns).into_iter();
    let listeners = sockets.filter(|socket| socket.state == TcpState::Listen);
    let mut addresses: Vec<_> = listeners.map(|socket| socket.local).collect();
    addresses.sort();
    addresses
}
