//! The source ports of the relay's connections to an app.
//!
//! The kernel does not choose a bound port for other connections of the namespace, wherever they
//! lead. If the client ends first, the port stays bound for another minute. If these ports came
//! from the ephemeral range, a busy app would lack ports for its own connections.

use std::{
    hash::{BuildHasher as _, RandomState},
    ops::RangeInclusive,
    sync::atomic::{AtomicU32, Ordering},
};

/// The ports above the usual `net.ipv4.ip_local_port_range`. Few apps listen there either.
pub const QUIET_PORTS: RangeInclusive<u16> = 61_000..=65_535;
/// Maximum number of quiet ports that are tried for a connection.
const QUIET_TRIES: u32 = 8;
/// Maximum number of other ports that are tried after these.
const TRIES: u64 = 64;
const UNPRIVILEGED: u64 = 1024;

/// The source ports of one namespace. Connections to different destinations can share a port
/// (`SO_REUSEADDR`).
#[derive(Debug, Default)]
pub struct SourcePorts(AtomicU32);

// === impl SourcePorts ===

impl SourcePorts {
    /// Ports to try for a connection, in this order: quiet ones, each connection from the next; the
    /// kernel's choice (0); any.
    pub fn candidates(&self) -> impl Iterator<Item = u16> + use<> {
        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        let quiet = (0..QUIET_TRIES).map(move |n| {
            // Far apart, so that two connections in a row do not try the same ports.
            let offset = turn.wrapping_add(n * 601) % QUIET_PORTS.len() as u32;
            QUIET_PORTS.start() + offset as u16
        });
        let seed = RandomState::new().hash_one(turn);
        let any = (0..TRIES).map(move |n| {
            (UNPRIVILEGED + seed.wrapping_add(n * 977) % (u64::from(u16::MAX) + 1 - UNPRIVILEGED))
                as u16
        });
        quiet.chain([0]).chain(any)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_connection_begins_with_another_quiet_port() {
        let ports = SourcePorts::default();
        let first: HashSet<u16> =
            QUIET_PORTS.map(|_| ports.candidates().next().expect("a port")).collect();
        assert_eq!(first, QUIET_PORTS.collect());
        let all: Vec<u16> = ports.candidates().collect();
        let quiet = QUIET_TRIES as usize;
        assert!(all[..quiet].iter().all(|port| QUIET_PORTS.contains(port)), "{all:?}");
        assert_eq!(all[quiet], 0);
        assert!(all[quiet + 1..].iter().all(|port| u64::from(*port) >= UNPRIVILEGED), "{all:?}");
    }
}
