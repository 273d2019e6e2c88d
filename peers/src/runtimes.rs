//! What the machine has: programs in `PATH`, and what `cargo xtask setup` has built.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use testbed::Namespace;

use crate::peer::Runtime;

/// The folder of what setup has built, in the environment.
pub const HOME: &str = "INTERCEPTOR_PEERS";

/// Where programs are.
#[derive(Clone, Debug)]
pub struct Runtimes {
    /// What setup has built; nothing if it did not run.
    home: Option<PathBuf>,
}

/// The two sides that a runtime has programs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// In `clients`.
    Client,
    /// In `servers`.
    Server,
}

// === impl Runtimes ===

impl Runtimes {
    /// As the environment says.
    pub fn from_env() -> Self {
        Self { home: env::var_os(HOME).map(PathBuf::from) }
    }

    /// Why a runtime can't be used; nothing if it can.
    pub fn why_not(&self, runtime: Runtime) -> Option<String> {
        let (built, program) = match runtime {
            Runtime::Go => (Some("bin/server"), None),
            Runtime::Python => (Some("python/grpc/__init__.py"), None),
            Runtime::Java => (Some("java/Server.class"), Some("java")),
            Runtime::Node => (None, Some("node")),
            Runtime::Program(program) => (None, Some(program)),
        };
        if let Some(program) = program.filter(|program| find(program).is_none()) {
            return Some(format!("{program} is not installed"));
        }
        let built = built?;
        match &self.home {
            None => Some(format!("{HOME} does not name the folder that setup fills")),
            Some(home) if !home.join(built).exists() => {
                Some(format!("{} is missing", home.join(built).display()))
            }
            Some(_) => None,
        }
    }

    /// The command that runs a program of `clients` or `servers` inside a namespace.
    pub fn command(&self, netns: &Namespace, runtime: Runtime, part: Part) -> Command {
        let home = self.home.as_deref().unwrap_or(Path::new("."));
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (folder, name, class) = match part {
            Part::Client => (sources.join("clients"), "client", "Client"),
            Part::Server => (sources.join("servers"), "server", "Server"),
        };
        match runtime {
            Runtime::Go => netns.command(home.join("bin").join(name)),
            Runtime::Python => {
                let mut python = netns.command(home.join("python/python3"));
                python.env("PYTHONPATH", home.join("python"));
                python.arg("-B").arg(folder.join(format!("python/{name}.py")));
                python
            }
            Runtime::Java => {
                let mut java = netns.command(find("java").unwrap_or_else(|| "java".into()));
                // Without nodelay, each response takes 40 ms: the server sends it in two pieces.
                java.args(["-Dsun.net.httpserver.nodelay=true", "-XX:TieredStopAtLevel=1"]);
                java.args(["-XX:+UseSerialGC", "-Xmx128m"]);
                java.arg("-cp").arg(home.join("java")).arg(class);
                java
            }
            Runtime::Node => {
                let mut node = netns.command(find("node").unwrap_or_else(|| "node".into()));
                node.arg(folder.join(format!("node/{name}.js")));
                node
            }
            Runtime::Program(program) => {
                netns.command(find(program).unwrap_or_else(|| program.into()))
            }
        }
    }
}

// === impl Runtime ===

impl Runtime {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Go => "Go",
            Self::Python => "Python with grpcio",
            Self::Java => "Java",
            Self::Node => "Node",
            Self::Program(program) => program,
        }
    }
}

/// The path of a program, also where Debian keeps those of administrators.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder: PathBuf| folder.join(program)).find(|file| file.is_file())
}
