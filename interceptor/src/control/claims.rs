//! One workload for each port of a network namespace.
//!
//! Two of our programs on one port would each mistake the other's connections to the app for those
//! of clients. They would pass each connection back and forth until the limit of open connections.
//! The kernel can't tell the two apart, so a port has one owner.

use std::{collections::HashMap, sync::Arc};

use interceptor_common::port::Port;
use parking_lot::Mutex;

use crate::netns::NetnsId;

/// The ports that are claimed, and the workload that owns each.
#[derive(Clone, Debug, Default)]
pub struct Claims(Arc<Mutex<HashMap<ClaimedPort, Arc<str>>>>);

type ClaimedPort = (NetnsId, Port);

/// A workload owns the port until this is dropped.
#[derive(Debug)]
#[must_use = "the port is free again when this is dropped"]
pub struct Claim {
    claims: Claims,
    port: ClaimedPort,
}

/// A port has rules of another workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "port {port} of this network namespace has rules of workload {owner}; \
     write all rules for it there"
)]
pub struct ClaimedError {
    /// The port.
    pub port: Port,
    /// The workload that owns it.
    pub owner: Arc<str>,
}

// === impl Claims ===

impl Claims {
    /// Claims a port of `netns` for the workload `name`.
    ///
    /// # Errors
    /// When a workload owns it already, even this one.
    pub fn claim(
        &self,
        netns: NetnsId,
        port: Port,
        name: &Arc<str>,
    ) -> Result<Claim, ClaimedError> {
        let claimed = (netns, port);
        let mut claims = self.0.lock();
        if let Some(owner) = claims.get(&claimed) {
            return Err(ClaimedError { port, owner: Arc::clone(owner) });
        }
        claims.insert(claimed, Arc::clone(name));
        Ok(Claim { claims: self.clone(), port: claimed })
    }
}

// === impl Claim ===

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.0.lock().remove(&self.port);
    }
}
