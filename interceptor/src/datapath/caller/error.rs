//! Why apps see the relay's address instead of the client's, and what an admin can do about it.

use std::{error::Error as _, io, net::SocketAddr};

use super::cgroup::CgroupError;
use crate::datapath::error::DatapathError;

/// Why apps see the relay's address instead of the client's.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    /// The node's cgroups can't be reached.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The programs could not be loaded.
    #[error(transparent)]
    Load(#[from] DatapathError),
    /// The kernel did not attach them.
    #[error("attach to {cgroup}: {source}")]
    Attach {
        /// The cgroup's path.
        cgroup: String,
        /// The kernel's error.
        source: aya::programs::ProgramError,
    },
    /// The network namespace can't be identified.
    #[error("SO_NETNS_COOKIE: {0}")]
    Cookie(#[source] io::Error),
    /// The test connection failed.
    #[error("test connection: {0}")]
    Try(#[source] io::Error),
    /// `accept` named another client for the test connection.
    #[error("a test connection should appear to come from {expected}, but came from {seen}")]
    NotShown {
        /// The address that `accept` should have returned.
        expected: SocketAddr,
        /// The address that it returned.
        seen: SocketAddr,
    },
    /// No namespace of the host shows addresses. `Callers::state` has the reason.
    #[error("lost on the whole host")]
    Disabled,
}

// === impl CallerError ===

impl CallerError {
    /// The error and its sources in one line, down to the kernel's error.
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

    /// What an admin can do about it. Empty for [`Disabled`](Self::Disabled), which only refers to
    /// another error.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Cgroup(CgroupError::NotMounted) => {
                "mount cgroup v2 on the host (mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified \
                 beside v1); in a container mount the host's /sys/fs/cgroup, anywhere"
            }
            Self::Cgroup(CgroupError::OwnOnly { .. }) => {
                "mount the host's /sys/fs/cgroup into the container, read-only, anywhere"
            }
            Self::Cgroup(CgroupError::Io { .. }) => "allow the daemon to read the cgroups",
            Self::Load(_) => {
                "run Linux 5.14 or later with CONFIG_CGROUP_BPF, and grant CAP_BPF and \
                 CAP_NET_ADMIN"
            }
            Self::Attach { .. } => {
                "grant CAP_BPF and CAP_NET_ADMIN; EPERM with both: another program at that cgroup \
                 allows no program beside it (bpftool cgroup show)"
            }
            Self::Cookie(_) => "run Linux 5.14 or later",
            Self::Try(_) => "allow TCP connections over the loopback interface",
            Self::NotShown { .. } => "report this message as a bug",
            Self::Disabled => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    #[test]
    fn the_reason_ends_with_the_kernels_error() {
        let io_error = io::Error::from_raw_os_error(libc::EPERM);
        let source = SyscallError { call: "bpf_link_create", io_error }.into();
        let error = CallerError::Attach { cgroup: "/sys/fs/cgroup".into(), source };
        assert_eq!(
            error.reason(),
            "attach to /sys/fs/cgroup: `bpf_link_create` failed: \
             Operation not permitted (os error 1)"
        );
        let error = CallerError::Cookie(io::Error::from_raw_os_error(libc::ENOPROTOOPT));
        assert_eq!(error.reason(), "SO_NETNS_COOKIE: Protocol not available (os error 92)");
    }
}
