//! Why apps see the relay's address instead of the client's, and what an admin can do about it.

use std::{error::Error as _, io, net::SocketAddr};

use super::cgroup::CgroupError;
use crate::datapath::error::DatapathError;

/// Why applications see the relay's address instead of the caller's.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    /// There is nothing to attach to.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The programs could not be loaded.
    #[error(transparent)]
    Load(#[from] DatapathError),
    /// The kernel did not attach them.
    #[error("attach to {cgroup}: {source}")]
    Attach {
        /// Where.
        cgroup: String,
        /// What the kernel said.
        source: aya::programs::ProgramError,
    },
    /// A network namespace can't be told from others.
    #[error("SO_NETNS_COOKIE: {0}")]
    Cookie(#[source] io::Error),
    /// A connection of our own could not be tried with.
    #[error("try with a connection of our own: {0}")]
    Try(#[source] io::Error),
    /// A connection of our own was seen to come from elsewhere.
    #[error("a connection of our own that should be seen from {expected} was seen from {seen}")]
    NotShown {
        /// Whom `accept` should have named.
        expected: SocketAddr,
        /// Whom it named.
        seen: SocketAddr,
    },
    /// For a single namespace: [`Callers::state`] says why.
    #[error("lost on the whole host")]
    Nowhere,
}

// === impl CallerError ===

impl CallerError {
    /// All of it in one line, down to what the kernel said.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut reason = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            let text = error.to_string();
            if !reason.contains(&text) {
                reason = format!("{reason}: {text}");
            }
            source = error.source();
        }
        reason
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Cgroup(CgroupError::NotMounted) => {
                "mount cgroup v2 on the host (mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified beside v1); in a container \
                 mount the host's /sys/fs/cgroup, anywhere"
            }
            Self::Cgroup(CgroupError::OwnOnly { .. }) => {
                "mount the host's /sys/fs/cgroup into the container, read-only, anywhere"
            }
            Self::Cgroup(CgroupError::Io { .. }) => "allow the daemon to read the cgroups",
            Self::Load(_) => {
                "run Linux 5.14 or later with CONFIG_CGROUP_BPF, and grant CAP_BPF and CAP_NET_ADMIN"
            }
            Self::Attach { .. } => {
                "grant CAP_BPF and CAP_NET_ADMIN; EPERM with both: somebody's program at that cgroup allows no others \
                 beside it (bpftool cgroup show)"
            }
            Self::Cookie(_) => "run Linux 5.14 or later",
            Self::Try(_) => "allow TCP connections over the loopback interface",
            Self::NotShown { .. } => "report this message as a bug",
            Self::Nowhere => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    #[test]
    fn the_reason_ends_with_what_the_kernel_said() {
        let io_error = io::Error::from_raw_os_error(libc::EPERM);
        let source = SyscallError { call: "bpf_link_create", io_error }.into();
        let error = CallerError::Attach { cgroup: "/sys/fs/cgroup".into(), source };
        assert_eq!(
            error.reason(),
            "attach to /sys/fs/cgroup: `bpf_link_create` failed: Operation not permitted (os error 1)"
        );
        let error = CallerError::Cookie(io::Error::from_raw_os_error(libc::ENOPROTOOPT));
        assert_eq!(error.reason(), "SO_NETNS_COOKIE: Protocol not available (os error 92)");
    }
}
