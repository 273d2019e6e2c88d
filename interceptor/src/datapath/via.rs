//! How the connections of a redirected port get to their targets.

/// How the connections of a redirected port get to their targets.
///
/// `control/plan.rs` decides it for each port, and [`PodPrograms`](super::PodPrograms) has the program that it names take the
/// port. One way is built. Two more will be variants here: packets of a whole port that the kernel rewrites in TC, and copies
/// of packets for a mirror. Every `match` names each variant, so that a new one fails to compile until all of them have
/// decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// An `sk_lookup` program steers them to a worker, which relays their bytes.
    Relay,
}
