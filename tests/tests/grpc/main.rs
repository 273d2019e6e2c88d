//! gRPC on a port with a condition on metadata: each call reaches the server that its metadata
//! selects.

#![forbid(unsafe_code)]

mod client;
mod closing;
mod fixture;
mod flow_control;
mod health;
mod routing;
mod service;
mod status;
