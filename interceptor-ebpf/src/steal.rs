//! `sk_lookup`: selects the relay's listener for new connections to a redirected port.
//!
//! The program is attached to one pod's network namespace. It runs when TCP looks for a *listener*,
//! so established connections never meet it. It always returns `SK_PASS`. Without a selection the
//! kernel finds the app's socket by itself, so every verdict except "steered" leaves the connection
//! with the app.
//!
//! Needs Linux 5.9. Kernel documentation: `Documentation/bpf/prog_sk_lookup.rst`.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![allow(
    internal_features,
    reason = "core offers no atomic arithmetic on a target without compare-and-swap"
)]
#![allow(unsafe_code, reason = "kernel maps and the context are raw memory")]
#![allow(missing_docs, reason = "the hook macro makes functions that take no doc comment")]

use core::{
    intrinsics::{AtomicOrdering, atomic_xadd},
    ptr::{addr_of, addr_of_mut, read_volatile},
};

use aya_ebpf::{
    bindings::{
        BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_SK_LOOKUP_F_REPLACE, bpf_sk_lookup, sk_action,
    },
    helpers::bpf_ktime_get_ns,
    macros::{map, sk_lookup},
    maps::{Array, HashMap, PerCpuArray, SockMap},
    programs::SkLookupContext,
};
use interceptor_common::{
    addr::Source,
    heartbeat::{AT_LIMIT, Pulse, is_fresh},
    port::Protocol,
    steal::{
        COUNTERS, Family, LISTENERS, MAX_BYPASS, MAX_PORTS, MAX_WORKERS, PortEntry, PortKey,
        Verdict, counter_index, listener_index, worker_for,
    },
};

/// Redirected ports. Written by the daemon.
#[map(name = "PORTS")]
static PORTS: HashMap<PortKey, PortEntry> = HashMap::with_max_entries(MAX_PORTS, 0);

/// The workers' listening sockets. The kernel removes a socket from this map when it is closed.
#[map(name = "LISTENERS")]
static LISTENER_SOCKETS: SockMap = SockMap::with_max_entries(LISTENERS, 0);

/// Time of each worker's last beat, and its credit. The daemon stores both through a memory mapping
/// (Linux 5.5).
#[map(name = "HEARTBEATS")]
static HEARTBEATS: Array<Pulse> = Array::with_max_entries(MAX_WORKERS, BPF_F_MMAPABLE);

/// Sources of the relay's own connections to this namespace: they bypass the program. The daemon
/// adds an entry before it connects and removes it after the close.
#[map(name = "BYPASS")]
static BYPASS: HashMap<Source, u8> = HashMap::with_max_entries(MAX_BYPASS, BPF_F_NO_PREALLOC);

/// Verdicts by port, see `counter_index`.
#[map(name = "VERDICTS")]
static VERDICTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// Number of the daemon's workers. The loader sets it, and the verifier sees a constant.
#[unsafe(no_mangle)]
static WORKERS: u32 = 1;

const AF_INET: u32 = 2;
const ENOENT: i32 = 2;

/// The hook: see the top of this file.
#[sk_lookup]
#[expect(unreachable_pub, reason = "the macro exports it to the loader")]
#[expect(clippy::needless_pass_by_value, reason = "the macro calls it so")]
pub fn steal(ctx: SkLookupContext) -> u32 {
    // SAFETY: the kernel passes a valid context, which the verifier checks.
    let lookup = unsafe { Lookup::read(ctx.lookup) };
    // Every datagram to an unconnected UDP socket meets this program. No UDP port can be redirected
    // at present, so a datagram costs one comparison.
    if lookup.protocol == u32::from(Protocol::Tcp.number()) {
        let key = PortKey::new(Protocol::Tcp, lookup.local_port);
        // SAFETY: the value is copied at once, and the daemon only replaces whole values.
        if let Some(port) = unsafe { PORTS.get(key) }.copied() {
            count(port.slot, steer(&ctx, &lookup, port.expires_at, port.full));
        }
    }
    sk_action::SK_PASS
}

/// Chooses a live worker for the connection and selects its listener.
#[inline(always)]
fn steer(ctx: &SkLookupContext, lookup: &Lookup, expires_at: u64, full: u32) -> Verdict {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if now >= expires_at {
        return Verdict::Expired;
    }
    // SAFETY: only the presence of the key matters.
    if unsafe { BYPASS.get(lookup.source) }.is_some() {
        return Verdict::Own;
    }
    if full != 0 {
        return Verdict::RuleAtLimit;
    }
    let mut verdict = Verdict::Stale;
    // SAFETY: the daemon set this constant before loading. A volatile read keeps the compiler from
    // assuming 1.
    let workers = unsafe { read_volatile(&raw const WORKERS) };
    let mut attempt = 0;
    while attempt < MAX_WORKERS && attempt < workers {
        let worker = worker_for(lookup.source_port, attempt, workers);
        attempt += 1;
        let Some(pulse) = HEARTBEATS.get_ptr_mut(worker) else { continue };
        // SAFETY: array values live as long as the map. The daemon and other CPUs store to this one
        // at any time, so its words are read one by one.
        let (beat, credit) = unsafe {
            (read_volatile(addr_of!((*pulse).beat)), read_volatile(addr_of!((*pulse).credit)))
        };
        if !is_fresh(now, beat) {
            if beat == AT_LIMIT {
                verdict = Verdict::AtLimit;
            }
            continue;
        }
        if credit <= 0 {
            verdict = Verdict::AtLimit;
            continue;
        }
        // REPLACE: an earlier program in this namespace may have selected a socket, for example the
        // program of the daemon that this one replaces.
        let index = listener_index(lookup.family, worker);
        match LISTENER_SOCKETS.redirect_sk_lookup(ctx, index, u64::from(BPF_SK_LOOKUP_F_REPLACE)) {
            Ok(()) => {
                take_off(pulse);
                return Verdict::Steered;
            }
            Err(error) if error == -ENOENT => verdict = Verdict::NoListener,
            Err(_) => verdict = Verdict::AssignFailed,
        }
    }
    verdict
}

/// Takes one connection off the worker's credit. `pulse` is a value of the heartbeat array.
#[inline(always)]
fn take_off(pulse: *mut Pulse) {
    // SAFETY: aligned, and array values live as long as the map. The result is not used, so this
    // compiles to the atomic addition that every BPF kernel has. Additions that return the old
    // value need Linux 5.12.
    unsafe {
        atomic_xadd::<i64, i64, { AtomicOrdering::Relaxed }>(addr_of_mut!((*pulse).credit), -1)
    };
}

#[inline(always)]
fn count(slot: u32, verdict: Verdict) {
    if let Some(counter) = VERDICTS.get_ptr_mut(counter_index(slot, verdict)) {
        // SAFETY: a per-CPU cell, and the kernel does not re-enter this program on the same CPU.
        unsafe { *counter += 1 };
    }
}

/// The fields of the context that the program needs.
struct Lookup {
    family: Family,
    protocol: u32,
    /// Host byte order.
    local_port: u16,
    source: Source,
    /// Host byte order.
    source_port: u16,
}

// === impl Lookup ===

impl Lookup {
    /// Reads each field by itself: the verifier checks context accesses by field and refuses a copy
    /// of the whole. Both addresses are read whatever the family; the unused one reads as zero.
    /// From two branches LLVM would make one load at a computed address, which the verifier
    /// refuses, too.
    ///
    /// # Safety
    /// `ctx` must be the context that the kernel passed to the program.
    #[inline(always)]
    unsafe fn read(ctx: *const bpf_sk_lookup) -> Self {
        // SAFETY: see above; volatile keeps the loads from being merged into wider ones.
        unsafe {
            let source_port = u16::from_be(read_volatile(addr_of!((*ctx).remote_port)));
            let ip4 = read_volatile(addr_of!((*ctx).remote_ip4));
            let words = addr_of!((*ctx).remote_ip6).cast::<u32>();
            let ip6 = [
                read_volatile(words),
                read_volatile(words.add(1)),
                read_volatile(words.add(2)),
                read_volatile(words.add(3)),
            ];
            let (family, source) = if read_volatile(addr_of!((*ctx).family)) == AF_INET {
                (Family::V4, Source::from_ip4(ip4, source_port))
            } else {
                (Family::V6, Source::from_ip6(ip6, source_port))
            };
            Self {
                family,
                protocol: read_volatile(addr_of!((*ctx).protocol)),
                local_port: read_volatile(addr_of!((*ctx).local_port)) as u16,
                source,
                source_port,
            }
        }
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
