//! Installs what is missing, and names it with the reason. Prints nothing if nothing is missing.

mod apt;
pub(crate) mod bpf_linker;
pub(crate) mod cargo_tool;
pub(crate) mod h2spec;
pub(crate) mod linters;
pub(crate) mod musl;
pub(crate) mod peers;
pub(crate) mod rust;

use anyhow::Result;
use clap::ValueEnum;

use self::apt::Need;
use crate::arch::Arch;

/// Commands that need more than building does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    Lint,
    Demo,
    Test,
    Peers,
    Bench,
    Cluster,
    Runtime,
    E2e,
    Image,
    Docs,
}

/// Programs by group, each with its Debian package and its purpose.
const NEEDS: [(Group, Need); 58] = [
    (Group::Demo, need("ip", "iproute2", "makes network namespaces")),
    (Group::Demo, need("nginx", "nginx", "the app whose traffic is intercepted")),
    (Group::Demo, need("curl", "curl", "calls the app by hand")),
    (Group::Test, need("ip", "iproute2", "makes network namespaces")),
    (Group::Test, need("nginx", "nginx", "HTTP by a real server")),
    (Group::Test, need("apache2", "apache2-bin", "HTTP by another real server")),
    (Group::Test, need("gunicorn", "gunicorn", "HTTP by a Python server")),
    (
        Group::Test,
        need(
            "/usr/lib/python3/dist-packages/websockets/__init__.py",
            "python3-websockets",
            "WebSocket, server and client",
        ),
    ),
    (Group::Test, need("wrk", "wrk", "HTTP load by a real client")),
    (Group::Test, need("curl", "curl", "HTTP by a widely used client")),
    (Group::Test, need("h2load", "nghttp2-client", "HTTP/2 load by a real client")),
    (Group::Test, need("nghttpd", "nghttp2-server", "HTTP/2 by a server that logs every frame")),
    (Group::Test, need("redis-server", "redis-server", "a protocol with pipelines")),
    (Group::Test, need("redis-benchmark", "redis-tools", "load for that protocol")),
    (Group::Test, need("postgres", "postgresql", "a protocol with a handshake of its own")),
    (Group::Test, need("pgbench", "postgresql-contrib", "load for that protocol")),
    (Group::Test, need("mariadbd", "mariadb-server", "a protocol where the server speaks first")),
    (Group::Test, need("iperf3", "iperf3", "bulk data in both directions")),
    (Group::Test, need("sshd", "openssh-server", "another protocol where the server speaks first")),
    (Group::Test, need("openssl", "openssl", "TLS")),
    (Group::Test, need("capsh", "libcap2-bin", "runs the daemon with few capabilities")),
    (Group::Test, need("promtool", "prometheus", "tests the chart's alerts")),
    (Group::Test, need("iptables", "iptables", "imitates a Service")),
    (Group::Test, need("javac", "default-jdk-headless", "HTTP by the JDK's client and server")),
    (Group::Test, need("node", "nodejs", "HTTP by Node's clients and servers")),
    (Group::Test, need("python3", "python3", "HTTP and gRPC by Python's clients and servers")),
    (Group::Peers, need("ip", "iproute2", "makes network namespaces")),
    (Group::Peers, need("nginx", "nginx", "a server")),
    (Group::Peers, need("apache2", "apache2-bin", "a server that takes an upgrade to HTTP/2")),
    (Group::Peers, need("curl", "curl", "a client")),
    (Group::Peers, need("h2load", "nghttp2-client", "a client")),
    (Group::Peers, need("javac", "default-jdk-headless", "the JDK's client and server")),
    (Group::Peers, need("node", "nodejs", "Node's clients and servers")),
    (Group::Peers, need("python3", "python3", "Python's clients and servers")),
    (Group::Bench, need("ip", "iproute2", "makes network namespaces")),
    (Group::Bench, need("nginx", "nginx", "answers the requests, and is a peer to compare with")),
    (Group::Bench, need("wrk", "wrk", "makes requests")),
    (Group::Bench, need("h2load", "nghttp2-client", "makes HTTP/2 requests")),
    (Group::Bench, need("curl", "curl", "shows which server answers")),
    (Group::Bench, need("haproxy", "haproxy", "a peer to compare with")),
    (Group::Bench, need("iptables", "iptables", "a peer to compare with")),
    (Group::Cluster, need("containerd", "containerd", "runs the pods")),
    (Group::Cluster, need("runc", "runc", "starts the processes of pods")),
    (
        Group::Cluster,
        need("/usr/lib/cni/bridge", "containernetworking-plugins", "the network of pods"),
    ),
    (Group::Cluster, need("ip", "iproute2", "connects the nodes")),
    (Group::Cluster, need("iptables", "iptables", "kube-proxy implements Services with it")),
    (
        Group::Cluster,
        need("conntrack", "conntrack", "kube-proxy removes state of ended endpoints with it"),
    ),
    (Group::Cluster, need("nsenter", "util-linux", "the second node has namespaces of its own")),
    (Group::Cluster, need("openssl", "openssl", "makes certificates")),
    (Group::Cluster, need("busybox", "busybox", "a shell in the pods")),
    (Group::Cluster, need("curl", "curl", "calls the pods by hand")),
    (Group::Runtime, need("gcc", "gcc", "runc is partly C")),
    (Group::Runtime, need("pkg-config", "pkg-config", "finds libraries for runc")),
    (
        Group::Runtime,
        need("/usr/include/seccomp.h", "libseccomp-dev", "system call filters of runc"),
    ),
    (Group::E2e, need("prometheus", "prometheus", "scrapes the metrics")),
    (Group::E2e, need("promtool", "prometheus", "reads the alert rules")),
    (Group::Docs, need("mkdocs", "mkdocs", "builds the documentation site")),
    (
        Group::Docs,
        need(
            "/usr/share/mkdocs/themes/material/__init__.py",
            "mkdocs-material",
            "the theme of the site",
        ),
    ),
];

/// Makes sure that the workspace can be built and the commands of these groups can run.
///
/// # Errors
///
/// Something can't be installed. The message has the command that does it by hand.
pub(crate) fn setup(groups: &[Group]) -> Result<()> {
    rust::components()?;
    bpf_linker::install()?;
    let needs = NEEDS.iter().filter(|(group, _)| groups.contains(group));
    apt::install(&needs.map(|(_, need)| *need).collect::<Vec<_>>())?;
    if groups.contains(&Group::Lint) {
        linters::install()?;
    }
    if groups.contains(&Group::Test)
        && let Err(error) = h2spec::install()
    {
        eprintln!("{error:#}; the tests with h2spec are skipped");
    }
    if groups.contains(&Group::Test) || groups.contains(&Group::Peers) {
        peers::install();
    }
    if groups.contains(&Group::Image) { musl::install(&Arch::ALL) } else { Ok(()) }
}

const fn need(program: &'static str, package: &'static str, why: &'static str) -> Need {
    Need { program, package, why }
}
