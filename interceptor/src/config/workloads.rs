//! Workloads: network namespaces with the rules for their connections.
//!
//! ```text
//! file.rs        workloads from the file of `--workloads`
//! flag.rs        a workload from the flags `--netns` and `--redirect`
//! annotated.rs   one annotation: its rules, or an error with its place
//! name.rs        the names of workloads
//! written.rs     when an annotation was written, and with which tool
//! ```
//!
//! Pods become workloads in `kubernetes/pod.rs`. An invalid file is an error as a whole, and its
//! reader keeps the last valid version. A mistake inside an annotation is an error of that
//! annotation alone.

use std::{fmt, net::IpAddr, num::NonZeroU16, path::PathBuf, sync::Arc};

use super::annotation::AnnotationKey;
pub use super::yaml::{FileError, Location, MAX_FILE, ReadError};

mod annotated;
mod file;
mod flag;
mod name;
#[cfg(test)]
mod tests;
mod written;

pub use self::{
    annotated::{AnnotatedRules, AnnotationError, Origin},
    file::{MAX_WORKLOADS, WorkloadsFile, parse, read},
    flag::FlagError,
    name::{NameError, WorkloadName},
    written::Written,
};

/// Maximum number of ports that one workload declares.
pub const MAX_DECLARED_PORTS: usize = 64;
/// Maximum number of annotations of interceptor on one pod. Each may add a condition to the pod.
pub const MAX_ANNOTATIONS: usize = 64;

/// The specification of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadSpec {
    /// Its name in logs, metrics and `status`.
    pub name: WorkloadName,
    /// Where to find its network namespace.
    pub netns: NetnsSource,
    /// The ports of a rule without ports. No port occurs twice.
    pub ports: Vec<NonZeroU16>,
    /// Its annotations of interceptor, in the order of the file. Other annotations are left out.
    pub rules: Vec<AnnotatedRules>,
    /// The kubelet's health checks. Their connections must reach the app.
    pub health_checks: Vec<HealthCheck>,
    /// Why no rule can take effect, whatever the rules say.
    pub obstacle: Option<Obstacle>,
    /// Whether it is being deleted. Rules in force stay until its namespace is gone. The daemon
    /// does not look for its namespace any more, because another pod may have its address by
    /// then.
    pub terminating: bool,
}

/// A health check of the kubelet, as the pod's spec describes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// The port that the kubelet connects to.
    pub port: NonZeroU16,
    /// How to recognise its connections.
    pub sign: HealthSign,
}

/// What distinguishes a connection of the kubelet from those of other clients on the node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HealthSign {
    /// An HTTP request whose `User-Agent` begins with this text.
    UserAgent(String),
    /// Any TLS connection from the node: its content is encrypted.
    Tls,
    /// Any HTTP/2 connection from the node: for gRPC, the kubelet does not identify itself before
    /// the server has sent its first frame.
    Http2,
}

/// Why no rule of a workload can take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The pod uses the node's own network namespace.
    HostNetwork,
    /// The pod's runtime class keeps its connections in a virtual machine or in its own kernel.
    Sandboxed(String),
    /// The pod has no address yet. The text is its phase, as Kubernetes names it.
    NotRunning(String),
    /// The pod's reported address is stale: its sandbox is gone, or the node has rebooted since.
    NoSandbox,
    /// Another pod reports the same address, so one of the two reports is stale.
    SharedAddress {
        /// The address.
        ip: IpAddr,
        /// The name of the other pod's workload.
        with: String,
    },
    /// The pod has more than [`MAX_ANNOTATIONS`] annotations of interceptor: this many.
    TooManyAnnotations(usize),
    /// The pod has ended. The text is its phase, as Kubernetes names it.
    Ended(String),
    /// The policy allows no rules in the pod's namespace.
    Policy(super::policy::Refusal),
}

/// How to find a network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NetnsSource {
    /// By an absolute path, such as `/run/netns/web`.
    Path(PathBuf),
    /// By a process that runs in it.
    Pid(u32),
    /// By the addresses of a pod: the namespace of the node that has them.
    Pod {
        /// The pod's uid. Another pod may get its name and its addresses.
        uid: Arc<str>,
        /// All of the pod's addresses.
        ips: Vec<IpAddr>,
    },
}

// === impl WorkloadSpec ===

impl WorkloadSpec {
    /// The pod's uid, if the workload is a pod.
    pub fn uid(&self) -> Option<&Arc<str>> {
        match &self.netns {
            NetnsSource::Pod { uid, .. } => Some(uid),
            NetnsSource::Path(_) | NetnsSource::Pid(_) => None,
        }
    }

    /// When the annotation `key` was last written, and with which tool, if that is known.
    pub fn written(&self, key: &AnnotationKey) -> Option<&Written> {
        self.rules.iter().find(|rules| rules.key == *key)?.written.as_ref()
    }
}

impl fmt::Display for NetnsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Pid(pid) => write!(f, "pid {pid}"),
            Self::Pod { ips, .. } => {
                f.write_str("pod")?;
                ips.iter().try_for_each(|ip| write!(f, " {ip}"))
            }
        }
    }
}
