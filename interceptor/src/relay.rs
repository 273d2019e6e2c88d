//! The relay: what happens to a connection that the kernel steered to us.
//!
//! ```text
//! worker.rs      one thread, one event loop: accepts for every armed workload and beats its heart
//!   listen.rs      its listeners inside the namespaces
//!   connection.rs  one stolen connection: which route, which upstream, how it ends
//!     health.rs      a probe of the kubelet, which the application answers
//!     dial.rs        a connection to the target, or back to the application past our own program
//!       circuit.rs     a silent target is tried in the background, not by callers
//!       loop_guard.rs     our own connections that came back to us
//!     select.rs      whose it is: the first of the port's rules that wants it (filter.rs), else the application
//!     filtered.rs    a connection that has to be looked into: HTTP/1 and HTTP/2 request by request, TLS by its name
//!     pipe.rs        bytes in both directions, with the ends and the pressure of TCP kept
//!     socket.rs      resets and send queues
//!     sockets.rs     a pod's sockets, made ahead for callers who come one after the other (source_ports.rs: their ports)
//! ```
//!
//! [`workload`] and [`route`] are the view that workers have of what the control side decided;
//! [`stats`] is what status and metrics read.

pub mod addr;
pub mod canary;
pub mod circuit;
pub mod detect;
pub mod dial;
pub mod direction;
pub mod filter;
#[cfg(test)]
mod future_sizes;
pub mod health;
mod http1;
mod http2;
pub mod listen;
pub mod loop_guard;
pub mod netns_stream;
pub mod observe;
pub mod pipe;
pub mod pressure;
pub mod proxy_v2;
pub mod record;
mod request;
pub mod route;
pub mod select;
pub mod serve;
pub mod socket_pool;
pub mod source_ports;
pub mod stats;
pub mod stolen;
pub mod stream;
pub mod target;
pub mod upstream;
pub mod worker;
pub mod workload;
pub mod workload_id;
pub mod write_buffer;
