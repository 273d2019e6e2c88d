//! One workload for each port of a network namespace.
//!
//! Two programs of ours that take the same port would take each other's connections to the application for those of callers,
//! and hand them to and fro until there is no room for more. The kernel can't tell them apart, so there is only one.

use std::{collections::HashMap, num::NonZeroU16, sync::Arc};

use parking_lot::Mutex;

use crate::netns::NetnsId;

/// Ports that are taken, with the workload that each belongs to.
#[derive(Clone, Debug, Default)]
pub struct Claims(Arc<Mutex<HashMap<Port, Arc<str>>>>);

type Port = (NetnsId, NonZeroU16);

/// A port is this workload's until this is dropped.
#[derive(Debug)]
pub struct Claim {
    claims: Claims,
    port: Port,
}

// === impl Claims ===

impl Claims {
    /// Claims a port of `netns` for the workload `name`.
    ///
    /// # Errors
    /// The name of the workload that has it.
    pub fn claim(
        &self,
        netns: NetnsId,
        port: NonZeroU16,
        name: &Arc<str>,
    ) -> Result<Claim, Arc<str>> {
        let port = (netns, port);
        let mut claims = self.lock();
        if let Some(owner) = claims.get(&port) {
            return Err(Arc::clone(owner));
        }
        claims.insert(port, Arc::clone(name));
        Ok(Claim { claims: self.clone(), port })
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<Port, Arc<str>>> {
        self.0.lock()
    }
}

// === impl Claim ===

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.port);
    }
}
