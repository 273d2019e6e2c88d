//! The relay: carries the connections that the kernel program sends to it.
//!
//! Each file uses only files below it:
//!
//! ```text
//! worker       one thread, one event loop: accepts for every attached workload, stores heartbeats
//!  serve       the first decision about an accepted connection
//!  |-- health      recognises the kubelet's probes, which the app answers
//!  |-- local       whether a connection comes from inside the pod
//!  detect      the client's protocol, if the rules depend on it
//!  |-- hold        how long bytes may wait for a decision (received)
//!  |-- http1       requests and responses in order, each request to its own target
//!  |-- http2       streams, each to its own target
//!  stolen      one stolen connection: asks the rules, dials, hands over
//!  |-- record      its outcome for each rule, and its line of the access log
//!  |-- pipe        bytes in both directions, with the ends and the back-pressure of TCP
//!  dial        connects to a target (Target::dial), or to the app past our own program
//!  |-- upstream    an open connection to either, with what is held as long as it is open
//!  liveness    finds sides that have vanished
//!  workload    an attached workload: its namespace, its ports, the ways in and out
//!  |-- checks      recognises the pod's `exec` probes, which the app answers
//!  |-- loop_guard  finds our own connections that come back to us
//!  |-- loop_watch  finds those that come back by a way that hides their source
//!  |-- probe_turn  one loop probe at a time on a node
//!  |-- socket_pool, source_ports, canary, pressure, app_keepalive
//!  |-- farewell    asks connections to end before the daemon does
//!  select      the first rule of the port that matches
//!  |-- observe     what may be seen of the bytes, heads and ends that pass
//!  route       what one rule does with one port
//!  |-- filter      the rule's condition and share
//!  |-- target      its addresses, whether it answers (circuit, answer) or leads back (suspicion)
//!  |-- stats       the counters of one port
//!  |-- capacity    how many connections a rule may have
//! leaves:      netns_stream over stream, write_buffer, addr, direction, workload_id
//! ```
//!
//! The control side writes [`workload`] and [`route`]; status and metrics read [`stats`].

pub mod addr;
pub mod answer;
pub mod app_keepalive;
pub mod canary;
pub mod capacity;
pub mod checks;
pub mod circuit;
pub mod detect;
pub mod dial;
pub mod direction;
pub mod farewell;
pub mod filter;
#[cfg(test)]
mod future_sizes;
pub mod health;
pub mod hold;
mod http1;
mod http2;
pub mod listen;
mod liveness;
pub mod local;
pub mod loop_guard;
pub mod loop_watch;
pub mod netns_stream;
pub mod observe;
pub mod pipe;
pub mod pressure;
pub mod probe_turn;
pub mod proxy_v2;
pub mod received;
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
pub mod suspicion;
pub mod target;
mod target_closed;
pub mod upstream;
pub mod worker;
pub mod workload;
pub mod workload_id;
pub mod write_buffer;
