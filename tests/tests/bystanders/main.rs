//! Everybody else on a port with a condition: their traffic passes through the daemon, and they must not notice.

mod busy;
mod large_bodies;
mod tls;

const WHEN: &str = "when request.headers['x-user'] == 'debug'";

const DEBUG: &str = "x-user: debug";
