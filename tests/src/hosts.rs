//! The three hosts of nearly every test.

use anyhow::Result;
use testbed::{Namespace, Topology};

/// The header of the requests that [`Hosts::debug_rule`] redirects.
pub const DEBUG_HEADER: &str = "x-user: debug";

/// The condition of [`Hosts::debug_rule`].
pub const WHEN_DEBUG: &str = "when request.headers['x-user'] == 'debug'";

/// Pod `web`, whose app a rule redirects, `laptop` with the target, and `client`.
#[derive(Clone, Debug)]
pub struct Hosts<'t> {
    /// The topology with its node.
    pub t: &'t Topology,
    /// The workload.
    pub pod: Namespace,
    /// The host of the target.
    pub laptop: Namespace,
    /// The host of the clients.
    pub client: Namespace,
}

impl<'t> Hosts<'t> {
    /// Creates the three hosts.
    pub fn new(t: &'t Topology) -> Result<Self> {
        Self::around(t, t.pod("web")?)
    }

    /// Creates laptop and client, for a pod of a special kind.
    pub fn around(t: &'t Topology, pod: Namespace) -> Result<Self> {
        Ok(Self { t, pod, laptop: t.host("laptop")?, client: t.host("client")? })
    }

    /// `<port> -> <laptop>:<target> when` the request has [`DEBUG_HEADER`].
    pub fn debug_rule(&self, port: u16, target: u16) -> String {
        format!("{port} -> {}:{target} {WHEN_DEBUG}", self.laptop.ip4())
    }
}
