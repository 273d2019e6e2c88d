//! The check whether this machine can run tests that need root, namespaces and BPF programs.

use std::{
    env,
    io::{self, Write as _},
    path::Path,
    process::Command,
    sync::OnceLock,
};

use crate::bpf;

/// `Some` if the machine can run such tests. Otherwise prints the reason and returns `None`.
///
/// # Panics
/// In CI (`CI=true`), if the machine cannot: a test that is skipped there never runs.
pub fn require_root() -> Option<()> {
    static WHY_NOT: OnceLock<Option<String>> = OnceLock::new();
    let Some(why) = WHY_NOT.get_or_init(why_not) else { return Some(()) };
    assert!(
        !env::var("CI").is_ok_and(|value| value == "true"),
        "can't run privileged tests: {why}"
    );
    // The test harness would hide the output of `eprintln` when the test passes.
    let _ = writeln!(io::stderr(), "\nSKIPPED: {why}\n");
    None
}

/// The reason why this machine cannot run privileged tests; `None` if it can.
pub fn why_not() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("network namespaces need root; run this as root or with sudo".into());
    }
    if !Command::new("ip").arg("-V").output().is_ok_and(|output| output.status.success()) {
        return Some("`ip` is missing; install the package iproute2".into());
    }
    if !Path::new("/proc/thread-self/ns/net").exists() {
        return Some("this kernel has no network namespaces, or /proc is not mounted".into());
    }
    bpf::probe_sk_lookup().err().map(|error| {
        format!(
            "the kernel refuses an sk_lookup program, which needs Linux 5.9 and CAP_BPF: {error}"
        )
    })
}
