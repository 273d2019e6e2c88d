//! Types that the kernel programs and the daemon share, and decisions that both sides make.
//!
//! Everything here is `no_std`, allocation-free and without I/O, so that the same function runs in
//! the kernel and under a unit test. Layout rules: `repr(C)`, no implicit padding, sizes asserted
//! beside each type, the byte order of every field stated.
//!
//! | module | shared between |
//! |---|---|
//! | [`steal`] | `interceptor-ebpf/src/steal.rs` and `interceptor/src/datapath` |
//! | [`heartbeat`] | the same two: whether a worker still accepts |
//! | [`caller`] | `interceptor-ebpf/src/caller.rs` and `interceptor/src/datapath/caller.rs` |
//! | [`addr`] | map keys made of addresses |
//! | [`port`] | every crate that names a port: a number with its protocol |
#![no_std]
#![warn(clippy::missing_errors_doc)]

pub mod addr;
pub mod caller;
pub mod heartbeat;
pub mod port;
pub mod steal;
