//! The kernel programs of one network namespace, behind one interface.
//!
//! Control, registry and admin name ports and a [`Via`]. Only this folder knows which program
//! carries a port, and in which maps the port is.

use std::{
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
    time::Instant,
};

use interceptor_common::{
    port::Port,
    steal::{Family, Verdict},
};

use super::{
    error::DatapathError,
    steal::{Loader, Steal, bypass::Bypass, heartbeat, heartbeat::HeartbeatPage},
    via::Via,
};

/// Takes ports of one namespace and releases them.
///
/// [`PodPrograms`] does it in the kernel. The unit tests of `control/ports.rs` record the calls
/// instead, and need no root.
pub trait TakePorts {
    /// Takes `port`, or changes its expiry. New connections go `via` until `until`, or until the
    /// port is released if that is `None`. The kernel enforces the expiry without the daemon.
    ///
    /// # Errors
    /// When [`MAX_PORTS`](interceptor_common::steal::MAX_PORTS) are taken, or the kernel refuses.
    fn take(&mut self, port: Port, via: Via, until: Option<Instant>) -> Result<(), DatapathError>;

    /// Releases `port`: its next connection goes to the app. Does nothing for a port that is not
    /// taken.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn release(&mut self, port: Port) -> Result<(), DatapathError>;

    /// Detaches all programs from the namespace, which releases every port. Listeners and counters
    /// stay.
    fn detach(&mut self);
}

/// All kernel programs of one network namespace, with their maps.
///
/// Set them up in this order, so that every steered connection finds a worker: load, set the
/// listeners, let the workers beat, attach, take ports. Dropping this detaches the programs.
pub struct PodPrograms {
    steal: Steal,
}

// === impl PodPrograms ===

impl PodPrograms {
    /// Loads and verifies the programs. They are attached to nothing yet. Needs CAP_BPF,
    /// CAP_NET_ADMIN and CAP_PERFMON.
    ///
    /// # Errors
    /// When the kernel has no `sk_lookup` (before Linux 5.9), or a right is missing.
    pub fn load(loader: &mut Loader) -> Result<Self, DatapathError> {
        Ok(Self { steal: Steal::load(loader)? })
    }

    /// The cells into which the workers store their heartbeats.
    #[must_use]
    pub fn heartbeats(&self) -> Arc<HeartbeatPage> {
        self.steal.heartbeats()
    }

    /// Registers the relay's own connections, which the programs leave alone.
    #[must_use]
    pub fn bypass(&self) -> Arc<Bypass> {
        self.steal.bypass()
    }

    /// Sets the listener of `worker` for `family`. The socket must be listening already.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn set_listener(
        &mut self,
        family: Family,
        worker: u32,
        socket: &impl AsRawFd,
    ) -> Result<(), DatapathError> {
        self.steal.set_listener(family, worker, socket)
    }

    /// Sets whether new connections to `port` stay with the app: its rule has its maximum number.
    /// Does nothing for a port that is not taken.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_full(&mut self, port: Port, full: bool) -> Result<(), DatapathError> {
        self.steal.set_full(port, full)
    }

    /// Attaches the programs to the network namespace `netns`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&mut self, netns: impl AsFd) -> Result<(), DatapathError> {
        self.steal.attach(netns)
    }

    /// Returns the counts of the programs' decisions about new connections to `port` since it was
    /// taken. Empty for a port that is not taken.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn counters(&self, port: Port) -> Result<Vec<(Verdict, u64)>, DatapathError> {
        self.steal.verdicts(port)
    }
}

impl TakePorts for PodPrograms {
    fn take(&mut self, port: Port, via: Via, until: Option<Instant>) -> Result<(), DatapathError> {
        match via {
            Via::Relay => self.steal.take_port(port, until.map(in_kernel_time)),
        }
    }

    fn release(&mut self, port: Port) -> Result<(), DatapathError> {
        self.steal.release_port(port)
    }

    fn detach(&mut self) {
        self.steal.detach();
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds, as the programs read it.
fn in_kernel_time(at: Instant) -> u64 {
    heartbeat::now() + at.saturating_duration_since(Instant::now()).as_nanos() as u64
}
