//! How the connections of a redirected port get to their targets.

/// How the connections of a redirected port get to their targets.
///
/// `control/plan.rs` decides it for each port. [`PodPrograms`](super::PodPrograms) has the program
/// for it take the port.
///
/// One way is built. Two more are planned: a kernel path that rewrites the packets of a whole port
/// in TC, and a tap that copies packets for a mirror. Every `match` names each variant, so the
/// compiler finds the places that a new one concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// An `sk_lookup` program steers them to a worker, which relays their bytes.
    Relay,
}
