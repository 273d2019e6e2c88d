//! What talks to the API of Kubernetes.

pub mod selftest;
pub mod uninstall;
