//! `cgroup/getpeername4` and `getpeername6`: the app sees the client's address on connections that
//! the relay passes on to it.
//!
//! The kernel runs these programs when it fills in the address of a TCP connection's peer: at
//! `accept`, with io_uring too, and at `getpeername`. They are attached at the root of the cgroup
//! hierarchy, so they run for every process of the host. The check that lets unrelated processes
//! out comes first: it compares two words and calls no helper.
//!
//! A socket of either family may have an IPv4 client. A dual-stack listener has IPv6 sockets and
//! sees IPv4 clients in their IPv4-mapped form. The map stores that form, too.
//!
//! Needs Linux 5.8. A program of this type must return 1, which the verifier enforces.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "kernel maps and the context are raw memory")]
#![allow(missing_docs, reason = "the hook macro makes functions that take no doc comment")]

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, bpf_sock, bpf_sock_addr},
    helpers::bpf_get_netns_cookie,
    macros::{cgroup_sock_addr, map},
    maps::HashMap,
    programs::SockAddrContext,
};
use interceptor_common::{
    addr::Source,
    caller::{MAX_CALLERS, Relayed},
};

/// The client behind each connection of the relay to an app. The daemon adds an entry before it
/// connects and removes it before it closes.
#[map(name = "CALLERS")]
static CALLERS: HashMap<Relayed, Source> =
    HashMap::with_max_entries(MAX_CALLERS, BPF_F_NO_PREALLOC);

const IPPROTO_TCP: u32 = 6;

/// The hook for IPv4 sockets: see the top of this file.
#[cgroup_sock_addr(getpeername4)]
#[expect(unreachable_pub, reason = "the macro exports it to the loader")]
#[expect(clippy::needless_pass_by_value, reason = "the macro calls it so")]
pub fn peer4(ctx: SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    // SAFETY: the kernel passes a valid context. The verifier allows reads and writes of these
    // words, one by one. The context's socket is never null.
    unsafe {
        let peer = read_volatile(addr_of!((*addr).user_ip4));
        let sk = read_volatile(addr_of!((*addr).__bindgen_anon_1.sk));
        // The relay connects to the app from the app's own address. Other clients rarely do.
        if peer == read_volatile(addr_of!((*sk).src_ip4))
            && let Some(caller) = caller(addr, sk, |port| Source::from_ip4(peer, port))
            && let Some(ip4) = caller.ip4()
        {
            write_volatile(addr_of_mut!((*addr).user_ip4), ip4);
            set_port(addr, caller);
        }
    }
    1
}

/// The hook for IPv6 sockets: see the top of this file.
#[cgroup_sock_addr(getpeername6)]
#[expect(unreachable_pub, reason = "the macro exports it to the loader")]
#[expect(clippy::needless_pass_by_value, reason = "the macro calls it so")]
pub fn peer6(ctx: SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    // SAFETY: as above.
    unsafe {
        let words = addr_of!((*addr).user_ip6).cast::<u32>();
        let last = read_volatile(words.add(3));
        let sk = read_volatile(addr_of!((*addr).__bindgen_anon_1.sk));
        // Comparing the last words is enough here: the map look-up compares the whole address.
        if last == read_volatile(addr_of!((*sk).src_ip6).cast::<u32>().add(3))
            && let Some(caller) = caller(addr, sk, |port| {
                let [a, b, c] = [0, 1, 2].map(|n| read_volatile(words.add(n)));
                Source::from_ip6([a, b, c, last], port)
            })
        {
            let [a, b, c, d] = caller.ip6();
            let words = addr_of_mut!((*addr).user_ip6).cast::<u32>();
            write_volatile(words, a);
            write_volatile(words.add(1), b);
            write_volatile(words.add(2), c);
            write_volatile(words.add(3), d);
            set_port(addr, caller);
        }
    }
    1
}

/// The client behind the connection, if the relay made it.
///
/// # Safety
/// `addr` must be the context that the kernel passed to the program, and `sk` the socket in it.
#[inline(always)]
unsafe fn caller(
    addr: *mut bpf_sock_addr,
    sk: *const bpf_sock,
    peer: impl FnOnce(u16) -> Source,
) -> Option<Source> {
    // SAFETY: see above. The value is copied at once, and the daemon only replaces whole values.
    unsafe {
        // UDP has the same port numbers.
        if read_volatile(addr_of!((*addr).protocol)) != IPPROTO_TCP {
            return None;
        }
        let port = u16::from_be(read_volatile(addr_of!((*addr).user_port)) as u16);
        let own_port = read_volatile(addr_of!((*sk).src_port)) as u16;
        let netns = bpf_get_netns_cookie(addr.cast());
        CALLERS.get(Relayed::new(netns, peer(port), own_port)).copied()
    }
}

/// # Safety
/// `addr` must be the context that the kernel passed to the program.
#[inline(always)]
unsafe fn set_port(addr: *mut bpf_sock_addr, caller: Source) {
    // SAFETY: see above.
    unsafe { write_volatile(addr_of_mut!((*addr).user_port), u32::from(caller.port().to_be())) };
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
