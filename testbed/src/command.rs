//! What a child process does between fork and exec: enter a namespace, drop capabilities.
//!
//! The steps run in the order in which they were added, so drop capabilities last.
#![allow(
    unsafe_code,
    reason = "`pre_exec` runs in the child of a threaded process, where only system calls are safe"
)]

use std::{
    ffi::{CString, c_int},
    fs::File,
    io::{self, Write as _},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::resource::{Resource, setrlimit},
};

use crate::Cgroup;

const NONE: Option<&str> = None;
const CGROUPS: &str = "/sys/fs/cgroup";

/// Mounts made from here on are visible to this process and its children only.
fn make_mounts_private() -> io::Result<()> {
    Ok(mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE)?)
}

/// Adds a step that only makes system calls: it must neither allocate nor lock.
fn before_exec(
    command: &mut Command,
    step: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: each use below passes a closure that only makes system calls, on values prepared
    // before the fork.
    unsafe { command.pre_exec(step) };
}

pub(crate) fn enter_netns(command: &mut Command, netns: File) {
    before_exec(command, move || Ok(setns(&netns, CloneFlags::CLONE_NEWNET)?));
}

/// The kernel creates the user namespace first, so the network namespace belongs to it.
pub(crate) fn own_users_and_netns(command: &mut Command) {
    before_exec(command, || Ok(unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?));
}

/// Confinement for a [`Command`].
pub trait CommandExt {
    /// Shows the command another `/etc/resolv.conf`, in a mount namespace of its own.
    fn resolv_conf(&mut self, file: &Path) -> io::Result<&mut Self>;

    /// Hides all cgroups, as on a host without cgroup v2.
    fn without_cgroups(&mut self) -> &mut Self;

    /// Puts the command into a cgroup and a cgroup namespace, as container runtimes do. It sees its
    /// own part of cgroup v2 at `/sys/fs/cgroup`. With `hosts`, an existing folder, it also sees
    /// the host's whole `/sys/fs/cgroup` there.
    fn contained(&mut self, cgroup: &Cgroup, hosts: Option<&Path>) -> io::Result<&mut Self>;

    /// Sets the maximum number of open files, soft and hard limit.
    fn open_files(&mut self, limit: u64) -> &mut Self;

    /// Drops these capabilities for good.
    fn without(&mut self, capabilities: &[Capability]) -> &mut Self;

    /// Drops all other capabilities for good. The user stays uid 0.
    fn only(&mut self, capabilities: &[Capability]) -> &mut Self;
}

impl CommandExt for Command {
    fn resolv_conf(&mut self, file: &Path) -> io::Result<&mut Self> {
        let file = CString::new(file.canonicalize()?.as_os_str().as_bytes())?;
        // The mount point has to be the file itself, not a link to it.
        let target =
            CString::new(Path::new("/etc/resolv.conf").canonicalize()?.as_os_str().as_bytes())?;
        before_exec(self, move || {
            unshare(CloneFlags::CLONE_NEWNS)?;
            make_mounts_private()?;
            Ok(mount(Some(file.as_c_str()), target.as_c_str(), NONE, MsFlags::MS_BIND, NONE)?)
        });
        Ok(self)
    }

    fn without_cgroups(&mut self) -> &mut Self {
        before_exec(self, || {
            unshare(CloneFlags::CLONE_NEWNS)?;
            make_mounts_private()?;
            Ok(mount(NONE, CGROUPS, Some("tmpfs"), MsFlags::empty(), NONE)?)
        });
        self
    }

    fn contained(&mut self, cgroup: &Cgroup, hosts: Option<&Path>) -> io::Result<&mut Self> {
        let mut members = File::options().write(true).open(cgroup.path().join("cgroup.procs"))?;
        let hosts = hosts.map(|hosts| CString::new(hosts.as_os_str().as_bytes())).transpose()?;
        before_exec(self, move || {
            // 0 is the process that writes.
            members.write_all(b"0")?;
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP)?;
            make_mounts_private()?;
            if let Some(hosts) = &hosts {
                let hosts = hosts.as_c_str();
                // MS_REC: with all mounts below. The read-only remount covers the folder's own
                // mount only.
                mount(Some(CGROUPS), hosts, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
                let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
                mount(NONE, hosts, NONE, read_only, NONE)?;
            }
            Ok(mount(NONE, CGROUPS, Some("cgroup2"), MsFlags::empty(), NONE)?)
        });
        Ok(self)
    }

    fn open_files(&mut self, limit: u64) -> &mut Self {
        before_exec(self, move || Ok(setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?));
        self
    }

    fn without(&mut self, capabilities: &[Capability]) -> &mut Self {
        let dropped = mask(capabilities);
        before_exec(self, move || limit_capabilities(!dropped));
        self
    }

    fn only(&mut self, capabilities: &[Capability]) -> &mut Self {
        let kept = mask(capabilities);
        before_exec(self, move || limit_capabilities(kept));
        self
    }
}

/// The capabilities that matter to the daemon; the numbers are the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "capabilities(7) describes them")]
pub enum Capability {
    Chown = 0,
    DacOverride = 1,
    Kill = 5,
    Setgid = 6,
    Setuid = 7,
    NetBindService = 10,
    NetAdmin = 12,
    NetRaw = 13,
    SysPtrace = 19,
    SysAdmin = 21,
    SysResource = 24,
    Perfmon = 38,
    Bpf = 39,
    CheckpointRestore = 40,
}

fn mask(capabilities: &[Capability]) -> u64 {
    capabilities.iter().fold(0, |mask, capability| mask | 1 << (*capability as u8))
}

/// Limits the capabilities that exec gives root: its bounding set and the inheritable ones.
fn limit_capabilities(kept: u64) -> io::Result<()> {
    for number in 0..64 {
        if kept & 1 << number != 0 {
            continue;
        }
        // SAFETY: all arguments are plain integers.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number as libc::c_ulong, 0, 0, 0) } == -1 {
            let error = io::Error::last_os_error();
            // EINVAL: this number is above the last capability that the kernel knows.
            if error.raw_os_error() == Some(libc::EINVAL) {
                break;
            }
            return Err(error);
        }
    }

    // <linux/capability.h>: version 3, the calling thread; then effective, permitted and
    // inheritable, low words first.
    let header = [0x2008_0522_u32, 0];
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: both arrays have the size and layout of version 3 of the call.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) })?;
    for (word, kept) in sets.iter_mut().zip([kept as u32, (kept >> 32) as u32]) {
        word[2] &= kept;
    }
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) })?;
    // SAFETY: plain integers.
    let cleared: c_int = unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0, 0, 0)
    };
    check(cleared.into())
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
