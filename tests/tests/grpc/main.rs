//! gRPC on a port whose rule looks at metadata: each call goes where it is wanted, by a library that many use.

mod client;
mod closing;
mod fixture;
mod flow_control;
mod health;
mod routing;
mod service;
mod status;
