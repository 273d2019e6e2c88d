//! A port that is stolen, and both ends of connections to it in the hands of the test.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use testbed::{Daemon, Namespace, Topology, wait_until, workload};

/// No end waits longer than this for the other: a test that hangs says nothing.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The port that is called in the pod, and the one that is listened on at the laptop.
const PORTS: (u16, u16) = (8080, 3000);

/// How the caller gets to the target. What one way does, the other has to do too.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    /// It calls the target itself: this is what TCP does without us.
    Direct,
    /// It calls the pod, whose port is stolen.
    Stolen,
}

/// One of the two who talk to each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// Who connected.
    Client,
    /// Who accepted.
    Target,
}

/// Both ends of one connection.
#[derive(Debug)]
pub(crate) struct Ends {
    /// The caller's.
    pub(crate) caller: TcpStream,
    /// The target's.
    pub(crate) target: TcpStream,
}

/// A pod with a redirected port, a laptop as its target, a client that calls, and the daemon.
///
/// Nobody listens in the pod: whatever is answered there was answered by the laptop.
#[derive(Debug)]
pub(crate) struct Fixture {
    /// The daemon, with its rule active.
    pub(crate) daemon: Daemon,
    /// Whose port is stolen.
    pub(crate) pod: Namespace,
    /// Where the target listens.
    pub(crate) laptop: Namespace,
    /// Where callers call from.
    pub(crate) client: Namespace,
    listener: TcpListener,
}

impl Fixture {
    /// Builds all of it, by IPv4.
    pub(crate) fn new(t: &Topology) -> Result<Self> {
        let (pod, laptop, client) = (t.pod("web")?, t.host("laptop")?, t.host("client")?);
        let target = SocketAddr::from((laptop.ip4(), PORTS.1));
        let listener = laptop.run(|| listen(target)).context("listen as the target")?;
        let daemon = Daemon::start(t, &workload(&pod, &format!("{} -> {target}", PORTS.0)), &[])?;
        daemon.wait_active("web")?;
        Ok(Self { daemon, pod, laptop, client, listener })
    }

    /// Whom a caller calls.
    pub(crate) fn to(&self, way: Route) -> SocketAddr {
        match way {
            Route::Direct => (self.laptop.ip4(), PORTS.1).into(),
            Route::Stolen => (self.pod.ip4(), PORTS.0).into(),
        }
    }

    /// Connects as a caller.
    pub(crate) fn call(&self, way: Route) -> io::Result<TcpStream> {
        let to = self.to(way);
        patient(self.client.run(|| TcpStream::connect_timeout(&to, TIMEOUT))?)
    }

    /// Takes the next connection as the target.
    pub(crate) fn accept(&self) -> io::Result<TcpStream> {
        patient(self.listener.accept()?.0)
    }

    /// A new connection.
    pub(crate) fn connect(&self, way: Route) -> Result<Ends> {
        let caller = self.call(way).with_context(|| format!("connect, {way:?}"))?;
        let target = self.accept().with_context(|| format!("accept, {way:?}"))?;
        Ok(Ends { caller, target })
    }

    /// How many files and sockets the daemon has open.
    pub(crate) fn open_files(&self) -> Result<usize> {
        self.daemon.open_files()
    }

    /// Connections that the relay says it has open.
    pub(crate) fn active(&self) -> f64 {
        self.daemon.metric("interceptor_active_connections", &[])
    }

    /// Waits until the relay has let go of all connections, and of their sockets.
    pub(crate) fn wait_for_files(&self, count: usize) -> Result<()> {
        let timeout = Duration::from_secs(5);
        wait_until("the relay to let go of its connections", timeout, || match self.active() {
            0.0 => Ok(()),
            open => Err(format!("{open} connections")),
        })?;
        wait_until(&format!("the daemon to have {count} files open"), timeout, || {
            match self.open_files() {
                Ok(now) if now <= count => Ok(()),
                Ok(now) => Err(format!("{now} open files")),
                Err(error) => Err(format!("{error:#}")),
            }
        })
    }

    /// The daemon's memory, in KiB.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.daemon.rss_kib()
    }
}

impl Ends {
    /// The end of `side` first, then the other.
    pub(crate) fn of(self, side: Side) -> (TcpStream, TcpStream) {
        match side {
            Side::Client => (self.caller, self.target),
            Side::Target => (self.target, self.caller),
        }
    }
}

/// Lets this process have as many open files as it may.
pub(crate) fn raise_open_files() -> Result<()> {
    static RAISED: OnceLock<nix::Result<()>> = OnceLock::new();
    let raised = RAISED.get_or_init(|| {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    });
    (*raised).context("raise the limit of open files")
}

/// TCP sockets in a namespace that are neither listening nor waiting out their time (TIME_WAIT).
pub(crate) fn sockets(netns: &Namespace) -> Vec<String> {
    const TIME_WAIT: &str = "06";
    const LISTEN: &str = "0A";
    let mut lines = table(netns);
    lines.retain(|line| {
        line.split_whitespace().nth(3).is_some_and(|state| state != TIME_WAIT && state != LISTEN)
    });
    lines
}

/// Bytes that were written to a connection and not yet taken by the other kernel.
pub(crate) fn unacknowledged(netns: &Namespace, stream: &TcpStream) -> Result<u64> {
    let ends = [stream.local_addr()?, stream.peer_addr()?];
    let ports = ends.map(|addr| format!(":{:04X}", addr.port()));
    let lines = table(netns);
    let line = lines.iter().find(|line| {
        line.split_whitespace().skip(1).zip(&ports).take(2).all(|(addr, port)| addr.ends_with(port))
    });
    // slot, local, remote, state, and then the queues: sent, a colon, received.
    let queues =
        line.and_then(|line| line.split_whitespace().nth(4)).context("no such connection")?;
    let (sent, _) = queues.split_once(':').context("a table of another format")?;
    u64::from_str_radix(sent, 16).context("not a number")
}

/// The TCP sockets of a namespace, as the kernel lists them.
fn table(netns: &Namespace) -> Vec<String> {
    let tables = netns.run(|| {
        // Not /proc/net, which is the namespace of the main thread.
        ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
            .map(|table| fs::read_to_string(table).unwrap_or_default())
    });
    tables.iter().flat_map(|table| table.lines().skip(1)).map(str::to_owned).collect()
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let domain = match addr.ip() {
        IpAddr::V4(_) => Domain::IPV4,
        IpAddr::V6(_) => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.bind(&addr.into())?;
    socket.listen(4096)?;
    // For accept, too.
    socket.set_read_timeout(Some(TIMEOUT))?;
    Ok(socket.into())
}

fn patient(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}
