//! The heartbeat array, mapped into the daemon's memory.
//!
//! Ten times a second, every worker stores the time into a cell of *every* armed namespace. In
//! mapped memory, each is one store. By the `bpf` system call, a hundred namespaces would cost two
//! thousand calls a second with two workers.
#![allow(unsafe_code, reason = "memory shared with the kernel")]

use std::{
    num::NonZeroUsize,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
};

use interceptor_common::{
    heartbeat::{Beat, Pulse},
    steal::MAX_WORKERS,
};
use nix::{
    sys::mman::{MapFlags, ProtFlags, mmap, munmap},
    time::{ClockId, clock_gettime},
};

/// The cells of one namespace's program, one for each worker.
#[derive(Debug)]
pub struct HeartbeatPage {
    cells: NonNull<Cell>,
}

/// A [`Pulse`] that the kernel reads and writes, too.
#[repr(C)]
struct Cell {
    beat: AtomicU64,
    credit: AtomicI64,
}

const _: () = assert!(size_of::<Cell>() == size_of::<Pulse>());

const LENGTH: NonZeroUsize = match NonZeroUsize::new(MAX_WORKERS as usize * size_of::<Pulse>()) {
    Some(length) => length,
    None => unreachable!(),
};

// SAFETY: the cells are atomics, and the mapping lives until the value is dropped.
unsafe impl Send for HeartbeatPage {}
// SAFETY: as above.
unsafe impl Sync for HeartbeatPage {}

// === impl HeartbeatPage ===

impl HeartbeatPage {
    /// Maps the array with the file descriptor `map` (made with `BPF_F_MMAPABLE`, Linux 5.5).
    pub(super) fn new(map: impl AsFd) -> nix::Result<Self> {
        // SAFETY: a fresh shared mapping that nothing else in this process refers to.
        let page = unsafe {
            mmap(
                None,
                LENGTH,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                map,
                0,
            )
        }?;
        Ok(Self { cells: page.cast() })
    }

    /// Stores the time of `worker`'s beat. [`NO_BEAT`](interceptor_common::heartbeat::NO_BEAT)
    /// means that the worker does not accept.
    pub fn store(&self, worker: u32, beat: Beat) {
        self.cell(worker).beat.store(beat, Ordering::Relaxed);
    }

    /// The number of connections that the kernel may still steer to `worker`.
    pub fn credit(&self, worker: u32) -> i64 {
        self.cell(worker).credit.load(Ordering::Relaxed)
    }

    /// Changes by `more` the number of connections that the kernel may steer to `worker`. Atomic:
    /// connections that the kernel steers meanwhile are not lost.
    pub fn grant(&self, worker: u32, more: i64) {
        self.cell(worker).credit.fetch_add(more, Ordering::Relaxed);
    }

    fn cell(&self, worker: u32) -> &Cell {
        assert!(worker < MAX_WORKERS, "worker {worker} has no heartbeat cell");
        // SAFETY: inside the mapping by the assertion. Array values lie side by side when their
        // size is a multiple of eight.
        unsafe { self.cells.add(worker as usize).as_ref() }
    }
}

impl Drop for HeartbeatPage {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, not used after this.
        if let Err(error) = unsafe { munmap(self.cells.cast(), LENGTH.get()) } {
            tracing::warn!(%error, "unmap the heartbeats");
        }
    }
}

/// The time as the kernel programs read it: `CLOCK_MONOTONIC` in nanoseconds.
#[must_use]
pub fn now() -> Beat {
    let now =
        clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on every Linux");
    // Both are positive: the clock starts at boot.
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}
