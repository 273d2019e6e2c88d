//! Stealing a port: the types and sizes of the maps, and the decisions of the `sk_lookup` program.

use crate::port::{Port, Protocol};

/// Maximum workers of one daemon: the width of the listener and heartbeat arrays.
pub const MAX_WORKERS: u32 = 16;

/// Maximum redirected ports in one network namespace.
pub const MAX_PORTS: u32 = 64;

/// Maximum open connections of the relay itself to addresses inside one network namespace.
pub const MAX_BYPASS: u32 = 65_536;

/// An `expires_at` that never comes.
pub const NEVER: u64 = u64::MAX;

/// The key of a redirected port: the protocol's number in the upper half, the port in host byte
/// order in the lower half.
///
/// One word, so that it has no padding and is hashed in one step.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortKey(u32);

const _: () = assert!(size_of::<PortKey>() == 4);

// === impl PortKey ===

impl PortKey {
    /// The key of port `number`, in host byte order, as `bpf_sk_lookup` shows it.
    #[inline(always)]
    #[must_use]
    pub const fn new(protocol: Protocol, number: u16) -> Self {
        Self((protocol.number() as u32) << 16 | number as u32)
    }
}

impl From<Port> for PortKey {
    fn from(port: Port) -> Self {
        Self::new(port.protocol(), port.number())
    }
}

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for a promise that the type is plain old data")]
// SAFETY: `repr(transparent)` over an integer.
unsafe impl aya::Pod for PortKey {}

/// The map's entry for a redirected port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortEntry {
    /// From this time on the port is the app's again, even if the daemon is gone. `CLOCK_MONOTONIC`
    /// in nanoseconds, or [`NEVER`].
    pub expires_at: u64,
    /// The port's row of counters, below [`MAX_PORTS`].
    pub slot: u32,
    /// One while the port's rule has its maximum number of connections, else zero.
    pub full: u32,
}

const _: () = assert!(size_of::<PortEntry>() == 16);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for a promise that the type is plain old data")]
// SAFETY: `repr(C)`, only integers, and the size assertion above shows that there is no padding.
unsafe impl aya::Pod for PortEntry {}

/// The outcome of one look-up for a redirected port.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Given to a worker's listener.
    Steered = 0,
    /// One of the relay's own connections, on its way to the app.
    Own = 1,
    /// The rule's ttl has expired.
    Expired = 2,
    /// No worker's heartbeat is fresh.
    Stale = 3,
    /// Workers are alive, but none has a listener for this address family.
    NoListener = 4,
    /// The kernel refused the listener.
    AssignFailed = 5,
    /// The daemon is alive and has no credit left for another connection.
    AtLimit = 6,
    /// The port's rule has its maximum number of connections.
    RuleAtLimit = 7,
}

// === impl Verdict ===

impl Verdict {
    /// Every verdict, in the order of the counters.
    pub const ALL: [Self; 8] = [
        Self::Steered,
        Self::Own,
        Self::Expired,
        Self::Stale,
        Self::NoListener,
        Self::AssignFailed,
        Self::AtLimit,
        Self::RuleAtLimit,
    ];

    /// Cells that one port has in the counters: a power of two, so that the index is a shift.
    pub const STRIDE: u32 = 8;

    /// Whether the client's connection stayed with the app although its port is redirected.
    #[must_use]
    pub const fn is_passed(self) -> bool {
        !matches!(self, Self::Steered | Self::Own)
    }

    /// The word for this verdict in metrics and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steered => "steered",
            Self::Own => "own",
            Self::Expired => "expired",
            Self::Stale => "daemon_hung",
            Self::NoListener => "no_listener",
            Self::AssignFailed => "assign_failed",
            Self::AtLimit => "at_limit",
            Self::RuleAtLimit => "rule_at_limit",
        }
    }
}

/// Cells in the counters of one network namespace.
pub const COUNTERS: u32 = MAX_PORTS * Verdict::STRIDE;

/// The counter of `verdict` for the port with this `slot`.
#[inline(always)]
#[must_use]
pub const fn counter_index(slot: u32, verdict: Verdict) -> u32 {
    slot * Verdict::STRIDE + verdict as u32
}

/// Which address family a listener serves: each worker has one of each.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4 = 0,
    /// IPv6.
    V6 = 1,
}

/// Entries of the listener map.
pub const LISTENERS: u32 = 2 * MAX_WORKERS;

/// The index of `worker`'s listener for `family` in the listener map.
#[inline(always)]
#[must_use]
pub const fn listener_index(family: Family, worker: u32) -> u32 {
    family as u32 * MAX_WORKERS + worker
}

/// The worker to try at a given `attempt` for a client with this source port.
///
/// The choice depends on the client alone: a retransmitted SYN, or the ACK that answers a SYN
/// cookie, must find the listener that received the first SYN. Linux picks ephemeral ports in steps
/// of two, hence the shift.
#[inline(always)]
#[must_use]
pub const fn worker_for(source_port: u16, attempt: u32, workers: u32) -> u32 {
    ((source_port as u32 >> 1) + attempt) % workers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_and_number_both_count_in_a_key() {
        let keys = [(Protocol::Tcp, 53), (Protocol::Udp, 53), (Protocol::Tcp, 54)]
            .map(|(protocol, number)| PortKey::new(protocol, number));
        assert_ne!(keys[0], keys[1]);
        assert_ne!(keys[0], keys[2]);
        assert_eq!(PortKey::new(Protocol::Tcp, u16::MAX), PortKey(6 << 16 | 0xffff));
    }

    #[test]
    fn every_counter_has_its_own_cell() {
        let mut seen = [false; COUNTERS as usize];
        for slot in 0..MAX_PORTS {
            for verdict in Verdict::ALL {
                let index = counter_index(slot, verdict) as usize;
                assert!(!core::mem::replace(&mut seen[index], true), "slot {slot}, {verdict:?}");
            }
        }
    }

    #[test]
    fn every_listener_has_its_own_index() {
        let mut seen = [false; LISTENERS as usize];
        for family in [Family::V4, Family::V6] {
            for worker in 0..MAX_WORKERS {
                let index = listener_index(family, worker) as usize;
                assert!(!core::mem::replace(&mut seen[index], true), "{family:?}, {worker}");
            }
        }
        assert!(seen.iter().all(|&taken| taken));
    }

    #[test]
    fn all_workers_are_tried_once_for_every_client() {
        for workers in 1..=MAX_WORKERS {
            for port in [0, 1, 32_768, 60_999, u16::MAX] {
                let mut tried = [false; MAX_WORKERS as usize];
                for attempt in 0..workers {
                    tried[worker_for(port, attempt, workers) as usize] = true;
                }
                assert!(
                    tried[..workers as usize].iter().all(|&t| t),
                    "{workers} workers, port {port}"
                );
            }
        }
    }

    #[test]
    fn even_source_ports_spread_over_two_workers() {
        let first = (32_768..33_768).step_by(2).filter(|&port| worker_for(port, 0, 2) == 0).count();
        assert_eq!(first, 250);
    }
}
