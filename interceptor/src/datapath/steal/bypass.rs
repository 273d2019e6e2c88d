//! The relay's own connections into a namespace, which the program must leave to the app.
//!
//! `sk_lookup` sees addresses, but neither marks nor the client's socket. So the relay binds a
//! socket, registers its source address here, and connects. It removes the entry when the
//! connection is closed.

use std::{io, net::SocketAddr, sync::Arc};

use aya::maps::{HashMap, MapData, MapError};
use interceptor_common::addr::Source;
use parking_lot::Mutex;

/// The bypass map of one namespace. It outlives the program while connections hold entries.
#[derive(Debug)]
pub struct Bypass {
    map: Mutex<HashMap<MapData, Source, u8>>,
}

/// One entry of the map. Dropping this removes it.
#[derive(Debug)]
#[must_use = "the program lets the connection through only while this lives"]
pub struct BypassEntry {
    bypass: Arc<Bypass>,
    source: Source,
}

// === impl Bypass ===

impl Bypass {
    pub(super) fn new(map: HashMap<MapData, Source, u8>) -> Arc<Self> {
        Arc::new(Self { map: Mutex::new(map) })
    }

    /// Leaves connections from `source` to the app while the returned entry lives.
    ///
    /// # Errors
    /// When the map is full or the kernel is out of memory. Do not connect then: the connection
    /// would come back to the relay.
    pub fn register(self: &Arc<Self>, source: SocketAddr) -> io::Result<BypassEntry> {
        let source = Source::from(source);
        self.map.lock().insert(source, 0, 0).map_err(|error| match error {
            // Callers decide by the kernel's error code.
            MapError::SyscallError(error) => error.io_error,
            error => io::Error::other(error),
        })?;
        Ok(BypassEntry { bypass: Arc::clone(self), source })
    }
}

// === impl BypassEntry ===

impl Drop for BypassEntry {
    fn drop(&mut self) {
        if let Err(error) = self.bypass.map.lock().remove(&self.source) {
            tracing::warn!(%error, "can't remove a connection of the relay from the bypass map");
        }
    }
}
