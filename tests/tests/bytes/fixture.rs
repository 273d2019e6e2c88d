//! A redirected port, with the test at both ends of each connection.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, Result};
use interceptor_tests::Hosts;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use testbed::{Daemon, Namespace, TcpSocket, TcpState, Topology, tcp_sockets, wait_until};

/// Maximum time that an end waits for the other, so that no test hangs.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The redirected port of the pod, and the port of the target.
const PORTS: (u16, u16) = (8080, 3000);

/// How the client connects to the target. Both routes must behave alike.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    /// Directly, for the behaviour of TCP without the relay.
    Direct,
    /// Through the redirected port of the pod.
    Stolen,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// The end that connected.
    Client,
    /// The end that accepted.
    Target,
}

/// Both ends of one connection.
#[derive(Debug)]
pub(crate) struct Ends {
    /// The client's end.
    pub(crate) client: TcpStream,
    /// The target's end.
    pub(crate) target: TcpStream,
}

/// A pod with a redirected port, a laptop with the target, a client, and the daemon.
///
/// The pod has no app, so the target gets every connection.
#[derive(Debug)]
pub(crate) struct Fixture {
    /// The daemon; its rule is active.
    pub(crate) daemon: Daemon,
    /// The pod whose port is redirected.
    pub(crate) pod: Namespace,
    /// The host of the target.
    pub(crate) laptop: Namespace,
    /// The host of the client.
    pub(crate) client: Namespace,
    listener: TcpListener,
}

impl Fixture {
    /// Creates the hosts, starts the daemon, and waits until its rule is active. All of it is IPv4.
    pub(crate) fn new(t: &Topology) -> Result<Self> {
        let Hosts { pod, laptop, client, .. } = Hosts::new(t)?;
        let target = SocketAddr::from((laptop.ip4(), PORTS.1));
        let listener = laptop.run(|| listen(target)).context("listen as the target")?;
        let daemon = Daemon::start_active(t, &pod, &format!("{} -> {target}", PORTS.0))?;
        Ok(Self { daemon, pod, laptop, client, listener })
    }

    /// The address that the client connects to.
    pub(crate) fn to(&self, route: Route) -> SocketAddr {
        match route {
            Route::Direct => (self.laptop.ip4(), PORTS.1).into(),
            Route::Stolen => (self.pod.ip4(), PORTS.0).into(),
        }
    }

    /// Connects the client.
    pub(crate) fn connect_client(&self, route: Route) -> io::Result<TcpStream> {
        let to = self.to(route);
        with_timeouts(self.client.run(|| TcpStream::connect_timeout(&to, TIMEOUT))?)
    }

    /// Accepts the next connection of the target.
    pub(crate) fn accept(&self) -> io::Result<TcpStream> {
        with_timeouts(self.listener.accept()?.0)
    }

    /// Accepts the connections that wait for it.
    pub(crate) fn accept_waiting(&self) -> io::Result<Vec<TcpStream>> {
        self.listener.set_nonblocking(true)?;
        let mut accepted = Vec::new();
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(false)?;
            accepted.push(with_timeouts(stream)?);
        }
        self.listener.set_nonblocking(false)?;
        Ok(accepted)
    }

    /// Opens a connection and returns both ends.
    pub(crate) fn connect(&self, route: Route) -> Result<Ends> {
        let client = self.connect_client(route).with_context(|| format!("connect, {route:?}"))?;
        let target = self.accept().with_context(|| format!("accept, {route:?}"))?;
        Ok(Ends { client, target })
    }

    /// The number of the daemon's open files, sockets included.
    pub(crate) fn open_files(&self) -> Result<usize> {
        self.daemon.open_files()
    }

    /// The number of active connections that the daemon reports.
    pub(crate) fn active(&self) -> f64 {
        self.daemon.metric("interceptor_active_connections", &[])
    }

    /// Waits until the relay has no connection, and at most `count` open files.
    pub(crate) fn wait_for_files(&self, count: usize) -> Result<()> {
        let timeout = Duration::from_secs(5);
        wait_until("the relay to close its connections", timeout, || match self.active() {
            0.0 => Ok(()),
            open => Err(format!("{open} connections")),
        })?;
        wait_until(&format!("at most {count} open files of the daemon"), timeout, || {
            match self.open_files() {
                Ok(now) if now <= count => Ok(()),
                Ok(now) => Err(format!("{now} open files")),
                Err(error) => Err(format!("{error:#}")),
            }
        })
    }

    /// The daemon's resident memory, in KiB.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.daemon.rss_kib()
    }
}

impl Ends {
    /// The end of `side`, then the other end.
    pub(crate) fn of(self, side: Side) -> (TcpStream, TcpStream) {
        match side {
            Side::Client => (self.client, self.target),
            Side::Target => (self.target, self.client),
        }
    }
}

/// Raises this process's soft limit of open files to its hard limit.
pub(crate) fn raise_open_files() -> Result<()> {
    static RAISED: OnceLock<nix::Result<()>> = OnceLock::new();
    let raised = RAISED.get_or_init(|| {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    });
    (*raised).context("raise the limit of open files")
}

/// The TCP sockets of a namespace, except listeners and those in TIME_WAIT.
pub(crate) fn connected_sockets(netns: &Namespace) -> Vec<TcpSocket> {
    let mut sockets = tcp_sockets(netns);
    sockets.retain(|socket| !matches!(socket.state, TcpState::TimeWait | TcpState::Listen));
    sockets
}

/// Bytes that were written to a connection and that the other kernel has not acknowledged.
pub(crate) fn unacknowledged(netns: &Namespace, stream: &TcpStream) -> Result<u64> {
    let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
    let mut sockets = tcp_sockets(netns).into_iter();
    let socket = sockets.find(|socket| (socket.local, socket.remote) == (local, remote));
    Ok(socket.context("no such connection")?.unacknowledged)
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let domain = match addr.ip() {
        IpAddr::V4(_) => Domain::IPV4,
        IpAddr::V6(_) => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.bind(&addr.into())?;
    socket.listen(4096)?;
    // This is also the timeout of accept.
    socket.set_read_timeout(Some(TIMEOUT))?;
    Ok(socket.into())
}

fn with_timeouts(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}
