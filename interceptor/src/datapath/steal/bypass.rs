//! The relay's own connections into a namespace, which bypass the program and reach the app.
//!
//! `sk_lookup` sees neither marks nor the client's socket, only addresses. So the relay binds, adds
//! the bound source to the map, connects, and removes the entry when the connection is closed.

use std::{io, net::SocketAddr, sync::Arc};

use aya::maps::{HashMap, MapData, MapError};
use interceptor_common::addr::Source;
use parking_lot::Mutex;

/// The map of one namespace's program. It outlives the program while connections hold entries.
#[derive(Debug)]
pub struct Bypass {
    map: Mutex<HashMap<MapData, Source, u8>>,
}

/// One entry; removed when this is dropped.
#[derive(Debug)]
#[must_use = "the connection bypasses the program only while this lives"]
pub struct BypassEntry {
    map: Arc<Bypass>,
    source: Source,
}

// === impl Bypass ===

impl Bypass {
    pub(super) fn new(map: HashMap<MapData, Source, u8>) -> Arc<Self> {
        Arc::new(Self { map: Mutex::new(map) })
    }

    /// Lets connections from `source` bypass the program as long as the guard lives.
    ///
    /// # Errors
    /// When the map is full or the kernel is out of memory. A connection would then come back to
    /// the relay.
    pub fn register(self: &Arc<Self>, source: SocketAddr) -> io::Result<BypassEntry> {
        let source = Source::from(source);
        self.map.lock().insert(source, 0, 0).map_err(|error| match error {
            // The relay decides by the kernel's error code.
            MapError::SyscallError(error) => error.io_error,
            error => io::Error::other(error),
        })?;
        Ok(BypassEntry { map: Arc::clone(self), source })
    }
}

// === impl BypassEntry ===

impl Drop for BypassEntry {
    fn drop(&mut self) {
        if let Err(error) = self.map.lock().remove(&self.source) {
            tracing::warn!(%error, "could not remove a connection of the relay from the bypass map");
        }
    }
}
