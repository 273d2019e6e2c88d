//! Other programs that choose the listeners of a network namespace, beside ours.
//!
//! The kernel runs all of them in the order in which they were attached. A later one may undo what
//! ours did. Asking for their ids needs CAP_NET_ADMIN. Their names need CAP_SYS_ADMIN, which the
//! daemon uses for nothing but entering namespaces.
#![allow(unsafe_code, reason = "no library asks for the programs of a network namespace")]

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, AsRawFd as _},
};

use parking_lot::Mutex;

/// `BPF_PROG_QUERY` of `enum bpf_cmd`.
const BPF_PROG_QUERY: libc::c_long = 16;
/// `BPF_SK_LOOKUP` of `enum bpf_attach_type`.
const BPF_SK_LOOKUP: u32 = 36;
/// Maximum number of programs in a namespace: the kernel's own maximum.
const MAX_PROGRAMS: usize = 64;

/// The programs of this process, by id.
static OWN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// A program of this process. Dropping this forgets it.
#[derive(Debug)]
pub(super) struct OwnProgram(u32);

/// The part of `union bpf_attr` that the query uses.
#[repr(C)]
#[derive(Debug)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    program_count: u32,
    reserved: u32,
}

/// The number of `sk_lookup` programs of other processes in the network namespace `netns`.
///
/// # Errors
/// When the kernel does not say.
pub fn others(netns: impl AsFd) -> io::Result<usize> {
    let ids = programs_of(netns)?;
    let own = OWN.lock();
    Ok(ids.iter().filter(|id| !own.contains(id)).count())
}

/// The ids of all `sk_lookup` programs in the network namespace `netns`.
fn programs_of(netns: impl AsFd) -> io::Result<Vec<u32>> {
    let mut ids = vec![0_u32; MAX_PROGRAMS];
    let mut query = Query {
        // A file descriptor is never negative.
        target_fd: netns.as_fd().as_raw_fd() as u32,
        attach_type: BPF_SK_LOOKUP,
        query_flags: 0,
        attach_flags: 0,
        program_ids: ids.as_mut_ptr() as u64,
        program_count: MAX_PROGRAMS as u32,
        reserved: 0,
    };
    // SAFETY: the kernel reads and writes `size_of::<Query>()` bytes of `query`. It writes no more
    // than `program_count` ids. Both live until the call returns.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of::<Query>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    ids.truncate(query.program_count as usize);
    Ok(ids)
}

// === impl OwnProgram ===

impl OwnProgram {
    /// Notes that the program `id` belongs to this process.
    pub(super) fn new(id: u32) -> Self {
        OWN.lock().insert(id);
        Self(id)
    }
}

impl Drop for OwnProgram {
    fn drop(&mut self) {
        OWN.lock().remove(&self.0);
    }
}
