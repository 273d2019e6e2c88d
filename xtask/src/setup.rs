//! Installs what is missing, and says what and why. Does nothing, and says nothing, when all is there.

mod apt;
pub(crate) mod bpf_linker;
pub(crate) mod h2spec;
pub(crate) mod musl;
pub(crate) mod rust;

use anyhow::Result;
use clap::ValueEnum;

use self::apt::Need;
use crate::arch::Arch;

/// What else is wanted beyond building.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    Demo,
    Test,
    Bench,
    Cluster,
    Runtime,
    E2e,
    Image,
}

/// Programs by group: each with its Debian package, and what for.
#[rustfmt::skip]
const NEEDS: [(Group, Need); 44] = [
    (Group::Demo, Need { program: "ip", package: "iproute2", why: "makes network namespaces" }),
    (Group::Demo, Need { program: "nginx", package: "nginx", why: "is the app whose traffic is intercepted" }),
    (Group::Demo, Need { program: "curl", package: "curl", why: "calls the app by hand" }),
    (Group::Test, Need { program: "ip", package: "iproute2", why: "makes network namespaces" }),
    (Group::Test, Need { program: "nginx", package: "nginx", why: "HTTP by a real server" }),
    (Group::Test, Need { program: "apache2", package: "apache2-bin", why: "HTTP by another real server" }),
    (Group::Test, Need { program: "gunicorn", package: "gunicorn", why: "and by one for Python" }),
    (Group::Test, Need { program: "/usr/lib/python3/dist-packages/websockets/__init__.py", package: "python3-websockets", why: "WebSocket, server and client" }),
    (Group::Test, Need { program: "wrk", package: "wrk", why: "HTTP load by a real client" }),
    (Group::Test, Need { program: "curl", package: "curl", why: "HTTP by a client that people use" }),
    (Group::Test, Need { program: "h2load", package: "nghttp2-client", why: "HTTP/2 load by a real client" }),
    (Group::Test, Need { program: "nghttpd", package: "nghttp2-server", why: "HTTP/2 by a server that shows it all" }),
    (Group::Test, Need { program: "redis-server", package: "redis-server", why: "a protocol with pipelines" }),
    (Group::Test, Need { program: "redis-benchmark", package: "redis-tools", why: "its load" }),
    (Group::Test, Need { program: "postgres", package: "postgresql", why: "a protocol with a handshake of its own" }),
    (Group::Test, Need { program: "pgbench", package: "postgresql-contrib", why: "its load" }),
    (Group::Test, Need { program: "mariadbd", package: "mariadb-server", why: "a protocol where the server speaks first" }),
    (Group::Test, Need { program: "iperf3", package: "iperf3", why: "bulk data in both directions" }),
    (Group::Test, Need { program: "sshd", package: "openssh-server", why: "another where the server speaks first" }),
    (Group::Test, Need { program: "openssl", package: "openssl", why: "TLS" }),
    (Group::Test, Need { program: "capsh", package: "libcap2-bin", why: "runs the daemon with few rights" }),
    (Group::Test, Need { program: "promtool", package: "prometheus", why: "says when the chart's alerts fire" }),
    (Group::Bench, Need { program: "ip", package: "iproute2", why: "makes network namespaces" }),
    (Group::Bench, Need { program: "nginx", package: "nginx", why: "answers the requests, and is a peer" }),
    (Group::Bench, Need { program: "wrk", package: "wrk", why: "makes requests" }),
    (Group::Bench, Need { program: "h2load", package: "nghttp2-client", why: "makes requests of HTTP/2" }),
    (Group::Bench, Need { program: "curl", package: "curl", why: "sees who answers them" }),
    (Group::Bench, Need { program: "haproxy", package: "haproxy", why: "a peer to compare with" }),
    (Group::Bench, Need { program: "iptables", package: "iptables", why: "a peer to compare with" }),
    (Group::Cluster, Need { program: "containerd", package: "containerd", why: "runs the pods" }),
    (Group::Cluster, Need { program: "runc", package: "runc", why: "starts their processes" }),
    (Group::Cluster, Need { program: "/usr/lib/cni/bridge", package: "containernetworking-plugins", why: "their network" }),
    (Group::Cluster, Need { program: "ip", package: "iproute2", why: "joins the nodes" }),
    (Group::Cluster, Need { program: "iptables", package: "iptables", why: "kube-proxy makes Services of it" }),
    (Group::Cluster, Need { program: "conntrack", package: "conntrack", why: "kube-proxy forgets ended endpoints with it" }),
    (Group::Cluster, Need { program: "nsenter", package: "util-linux", why: "the second node has namespaces of its own" }),
    (Group::Cluster, Need { program: "openssl", package: "openssl", why: "makes certificates" }),
    (Group::Cluster, Need { program: "busybox", package: "busybox", why: "a shell in the pods" }),
    (Group::Cluster, Need { program: "curl", package: "curl", why: "calls the pods by hand" }),
    (Group::Runtime, Need { program: "gcc", package: "gcc", why: "runc is partly C" }),
    (Group::Runtime, Need { program: "pkg-config", package: "pkg-config", why: "finds libraries for it" }),
    (Group::Runtime, Need { program: "/usr/include/seccomp.h", package: "libseccomp-dev", why: "its filters of system calls" }),
    (Group::E2e, Need { program: "prometheus", package: "prometheus", why: "scrapes the metrics" }),
    (Group::E2e, Need { program: "promtool", package: "prometheus", why: "reads the alert rules" }),
];

/// Makes sure that the workspace can be built and the commands of these groups can run.
pub(crate) fn setup(groups: &[Group]) -> Result<()> {
    rust::components()?;
    bpf_linker::install()?;
    let needs = NEEDS.iter().filter(|(group, _)| groups.contains(group));
    apt::install(&needs.map(|(_, need)| *need).collect::<Vec<_>>())?;
    if groups.contains(&Group::Test)
        && let Err(error) = h2spec::install()
    {
        eprintln!("{error:#}; its tests are skipped");
    }
    if groups.contains(&Group::Image) { musl::install(&Arch::ALL) } else { Ok(()) }
}
