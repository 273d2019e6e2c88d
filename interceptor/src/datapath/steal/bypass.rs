//! The relay's own connections into a namespace, which the program must let through to the application.
//!
//! `sk_lookup` sees neither marks nor sockets of the caller, only addresses. So the relay binds, enters the bound
//! source here, connects, and takes the entry out when the connection is closed.

use std::{io, net::SocketAddr, sync::Arc};

use aya::maps::{HashMap, MapData, MapError};
use interceptor_common::addr::Source;
use parking_lot::Mutex;

/// The map of one namespace's program. It outlives the program while connections hold entries.
#[derive(Debug)]
pub struct Bypass {
    map: Mutex<HashMap<MapData, Source, u8>>,
}

/// One entry; taken out when this is dropped.
#[derive(Debug)]
#[must_use = "the program lets the connection through only while this lives"]
pub struct BypassEntry {
    map: Arc<Bypass>,
    source: Source,
}

// === impl Bypass ===

impl Bypass {
    pub(super) fn new(map: HashMap<MapData, Source, u8>) -> Arc<Self> {
        Arc::new(Self { map: Mutex::new(map) })
    }

    /// Lets connections from `source` through to the application, as long as the guard lives.
    ///
    /// # Errors
    /// When the map is full or the kernel is out of memory; connecting then would come back to the relay.
    pub fn register(self: &Arc<Self>, source: SocketAddr) -> io::Result<BypassEntry> {
        let source = Source::from(source);
        self.lock().insert(source, 0, 0).map_err(|error| match error {
            // What the kernel said is what its caller goes by.
            MapError::SyscallError(error) => error.io_error,
            error => io::Error::other(error),
        })?;
        Ok(BypassEntry { map: Arc::clone(self), source })
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<MapData, Source, u8>> {
        // A panic elsewhere can't leave the kernel's map half-written.
        self.map.lock()
    }
}

// === impl BypassEntry ===

impl Drop for BypassEntry {
    fn drop(&mut self) {
        if let Err(error) = self.map.lock().remove(&self.source) {
            tracing::warn!(%error, "forget a connection of the relay's own");
        }
    }
}
