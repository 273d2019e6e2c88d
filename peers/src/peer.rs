//! The clients and servers of the matrix: what each speaks, and what it needs.

use crate::oddity::Protocol;

/// Something that the machine must have, for some peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runtime {
    /// The programs of `clients/go` and `servers/go`.
    Go,
    /// Python with grpcio.
    Python,
    /// A JDK.
    Java,
    /// Node.
    Node,
    /// A program in `PATH`.
    Program(&'static str),
}

/// How a client makes its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A plain socket of this program.
    Socket,
    /// A program in `clients`, which reads jobs.
    Jobs(Runtime),
    /// curl, once for all calls of a job.
    Curl,
    /// h2load.
    H2load,
}

/// A client.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its name in oddities and reports.
    pub name: &'static str,
    /// What it speaks.
    pub protocols: &'static [Protocol],
    /// How it makes its calls.
    pub how: How,
}

/// How a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// In this program.
    Recorder,
    /// A program in `servers`, with this word as its first argument.
    Program(Runtime, &'static str),
    /// nginx, with these words behind the port of `listen`.
    Nginx(&'static str),
    /// Apache's httpd.
    Apache,
}

/// A server.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Its name in oddities and reports.
    pub name: &'static str,
    /// What it speaks. An oddity that names a server may speak anything to it.
    pub protocols: &'static [Protocol],
    /// How it runs.
    pub runs: Runs,
}

/// All clients.
pub const CLIENTS: [Client; 9] = [
    Client { name: "socket", protocols: &[Protocol::Raw], how: How::Socket },
    Client {
        name: "curl",
        protocols: &[Protocol::Http1, Protocol::H2, Protocol::H2cUpgrade],
        how: How::Curl,
    },
    Client { name: "go", protocols: &[Protocol::Http1, Protocol::H2], how: How::Jobs(Runtime::Go) },
    Client {
        name: "java",
        protocols: &[Protocol::Http1, Protocol::H2cUpgrade],
        how: How::Jobs(Runtime::Java),
    },
    Client {
        name: "node",
        protocols: &[Protocol::Http1, Protocol::H2],
        how: How::Jobs(Runtime::Node),
    },
    Client { name: "python", protocols: &[Protocol::Http1], how: How::Jobs(Runtime::Python) },
    Client { name: "h2load", protocols: &[Protocol::H2], how: How::H2load },
    Client { name: "grpc-go", protocols: &[Protocol::Grpc], how: How::Jobs(Runtime::Go) },
    Client { name: "grpc-python", protocols: &[Protocol::Grpc], how: How::Jobs(Runtime::Python) },
];

/// All servers.
pub const SERVERS: [Server; 11] = [
    Server { name: "recorder", protocols: &[Protocol::Raw, Protocol::Http1], runs: Runs::Recorder },
    Server {
        name: "go",
        protocols: &[Protocol::Http1, Protocol::H2, Protocol::H2cUpgrade],
        runs: Runs::Program(Runtime::Go, "http"),
    },
    Server {
        name: "java",
        protocols: &[Protocol::Http1],
        runs: Runs::Program(Runtime::Java, "http"),
    },
    Server {
        name: "node",
        protocols: &[Protocol::Http1],
        runs: Runs::Program(Runtime::Node, "http"),
    },
    Server {
        name: "node-h2",
        protocols: &[Protocol::H2],
        runs: Runs::Program(Runtime::Node, "http2"),
    },
    Server {
        name: "python",
        protocols: &[Protocol::Http1],
        runs: Runs::Program(Runtime::Python, "http"),
    },
    Server {
        name: "apache",
        protocols: &[Protocol::Http1, Protocol::H2, Protocol::H2cUpgrade],
        runs: Runs::Apache,
    },
    Server { name: "nginx", protocols: &[Protocol::Http1], runs: Runs::Nginx("") },
    Server { name: "nginx-h2", protocols: &[Protocol::H2], runs: Runs::Nginx(" http2") },
    Server {
        name: "grpc-go",
        protocols: &[Protocol::Grpc],
        runs: Runs::Program(Runtime::Go, "grpc"),
    },
    Server {
        name: "grpc-python",
        protocols: &[Protocol::Grpc],
        runs: Runs::Program(Runtime::Python, "grpc"),
    },
];

// === impl Client ===

impl Client {
    /// What the machine must have.
    pub fn needs(&self) -> Option<Runtime> {
        match self.how {
            How::Socket => None,
            How::Jobs(runtime) => Some(runtime),
            How::Curl => Some(Runtime::Program("curl")),
            How::H2load => Some(Runtime::Program("h2load")),
        }
    }
}

// === impl Server ===

impl Server {
    /// What the machine must have.
    pub fn needs(&self) -> Option<Runtime> {
        match self.runs {
            Runs::Recorder => None,
            Runs::Program(runtime, _) => Some(runtime),
            Runs::Nginx(_) => Some(Runtime::Program("nginx")),
            Runs::Apache => Some(Runtime::Program("apache2")),
        }
    }
    /// Whether it records requests after their responses, each by a thread of its own.
    pub fn records_late(&self) -> bool {
        self.runs == Runs::Apache
    }
}
