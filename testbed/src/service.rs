//! TCP servers inside a namespace: the app, the target, and servers that misbehave.

use std::{
    collections::HashMap,
    fmt,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use parking_lot::{Condvar, Mutex, MutexGuard};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::{Namespace, bulk, http};

/// A server with a thread for each connection. Dropping it closes its listener and its connections.
#[derive(Debug)]
pub struct TcpService {
    addr: SocketAddr,
    listener: Arc<TcpListener>,
    traffic: Arc<Traffic>,
    acceptor: Option<JoinHandle<()>>,
}

/// The counters of a service, and the state that its connections share.
#[derive(Default)]
pub struct Traffic {
    accepted: AtomicU64,
    requests: AtomicU64,
    stopping: AtomicBool,
    open: Mutex<HashMap<u64, TcpStream>>,
    changed: Condvar,
}

impl TcpService {
    /// Answers each line with `<tag> <peer address> <local address>`, as the server sees them.
    pub fn tagged(netns: &Namespace, addr: impl Into<SocketAddr>, tag: &str) -> Result<Self> {
        let tag = tag.to_owned();
        Self::start(netns, addr, move |stream, traffic| answer_lines(stream, traffic, &tag))
    }

    /// Sends `<tag> <peer address> <local address>` when the connection is accepted, as database
    /// and mail servers do, then answers as [`tagged`](Self::tagged).
    pub fn greets_first(netns: &Namespace, addr: impl Into<SocketAddr>, tag: &str) -> Result<Self> {
        let tag = tag.to_owned();
        Self::start(netns, addr, move |mut stream, traffic| {
            stream.write_all(introduction(&stream, &tag)?.as_bytes())?;
            answer_lines(stream, traffic, &tag)
        })
    }

    /// Answers each HTTP/1.1 request with the line of [`tagged`](Self::tagged) as body, and keeps
    /// the connection open.
    pub fn http(netns: &Namespace, addr: impl Into<SocketAddr>, tag: &str) -> Result<Self> {
        let tag = tag.to_owned();
        Self::start(netns, addr, move |mut stream, traffic| {
            let mut requests = BufReader::new(stream.try_clone()?);
            while http::read_message(&mut requests)?.is_some() {
                traffic.requests.fetch_add(1, Ordering::Relaxed);
                let body = introduction(&stream, &tag)?;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes())?;
            }
            Ok(())
        })
    }

    /// Sends back all bytes, and closes its half after the client has closed its own.
    pub fn echo(netns: &Namespace, addr: impl Into<SocketAddr>) -> Result<Self> {
        Self::start(netns, addr, |mut stream, _| {
            io::copy(&mut stream.try_clone()?, &mut stream)?;
            stream.shutdown(Shutdown::Write)
        })
    }

    /// Accepts connections, and neither reads nor writes nor closes.
    pub fn silent(netns: &Namespace, addr: impl Into<SocketAddr>) -> Result<Self> {
        Self::start(netns, addr, |_stream, traffic| {
            traffic.wait_for_stop();
            Ok(())
        })
    }

    /// Reads to the end of the stream, then answers with a line: the [`Checksum`](crate::Checksum).
    pub fn sink(netns: &Namespace, addr: impl Into<SocketAddr>) -> Result<Self> {
        Self::start(netns, addr, |mut stream, _| {
            let sum = bulk::receive(&stream)?;
            stream.write_all(format!("{sum}\n").as_bytes())
        })
    }

    /// Sends `bytes` bytes, those of [`send`](crate::send()), and closes.
    pub fn source(netns: &Namespace, addr: impl Into<SocketAddr>, bytes: u64) -> Result<Self> {
        Self::start(netns, addr, move |stream, _| bulk::send(&stream, bytes).map(drop))
    }

    /// Runs `serve` for each connection. The connection closes when `serve` returns.
    pub fn start(
        netns: &Namespace,
        addr: impl Into<SocketAddr>,
        serve: impl Fn(TcpStream, &Traffic) -> io::Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let addr = addr.into();
        let listener = netns
            .run(|| listen(addr))
            .with_context(|| format!("listen on {addr} in {}", netns.label()))?;
        let addr = listener.local_addr().context("the address of the listener")?;
        let (listener, traffic) = (Arc::new(listener), Arc::new(Traffic::default()));
        let acceptor = thread::spawn({
            let (listener, traffic, serve) = (listener.clone(), traffic.clone(), Arc::new(serve));
            move || accept(&listener, &traffic, &serve)
        });
        Ok(Self { addr, listener, traffic, acceptor: Some(acceptor) })
    }

    /// The address of the listener; of use after binding port 0.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The number of accepted connections.
    pub fn connections(&self) -> u64 {
        self.traffic.accepted.load(Ordering::Relaxed)
    }

    /// The number of open connections.
    pub fn open(&self) -> usize {
        self.traffic.open().len()
    }

    /// The number of lines or HTTP requests.
    pub fn requests(&self) -> u64 {
        self.traffic.requests.load(Ordering::Relaxed)
    }

    /// Closes all open connections; the listener stays.
    pub fn close_connections(&self) {
        for stream in self.traffic.open().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Closes the listener; open connections stay.
    pub fn stop_listening(&mut self) {
        // On Linux, this wakes the thread that blocks in accept.
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }

    /// Closes the listener and all connections.
    pub fn stop(self) {}
}

impl Drop for TcpService {
    fn drop(&mut self) {
        self.stop_listening();
        let mut open = self.traffic.open();
        self.traffic.stopping.store(true, Ordering::Relaxed);
        self.traffic.changed.notify_all();
        for (_, stream) in open.drain() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Traffic {
    /// Counts a request, for a service created by [`TcpService::start`].
    pub fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Blocks until the service is stopped.
    pub fn wait_for_stop(&self) {
        let mut open = self.open();
        self.changed.wait_while(&mut open, |_| !self.stopping.load(Ordering::Relaxed));
    }

    /// Counts and registers a connection under one lock, so that
    /// [`close_connections`](TcpService::close_connections) reaches every connection that was
    /// counted.
    fn enter(&self, stream: TcpStream) -> u64 {
        let mut open = self.open();
        let number = self.accepted.fetch_add(1, Ordering::Relaxed);
        open.insert(number, stream);
        number
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.open.lock()
    }
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic")
            .field("accepted", &self.accepted)
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(addr))?;
    // std's backlog of 128 is too small for a burst of clients on a busy machine.
    socket.listen(4096)?;
    Ok(socket.into())
}

fn accept<F>(listener: &TcpListener, traffic: &Arc<Traffic>, serve: &Arc<F>)
where
    F: Fn(TcpStream, &Traffic) -> io::Result<()> + Send + Sync + 'static,
{
    while let Ok((stream, _)) = listener.accept() {
        let Ok(copy) = stream.try_clone() else { continue };
        let number = traffic.enter(copy);
        let (traffic, serve) = (traffic.clone(), serve.clone());
        thread::spawn(move || {
            let _ = stream.set_nodelay(true);
            let _ = serve(stream, &traffic);
            traffic.open().remove(&number);
        });
    }
}

fn answer_lines(mut stream: TcpStream, traffic: &Traffic, tag: &str) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        line.clear();
        traffic.requests.fetch_add(1, Ordering::Relaxed);
        stream.write_all(introduction(&stream, tag)?.as_bytes())?;
    }
    Ok(())
}

fn introduction(stream: &TcpStream, tag: &str) -> io::Result<String> {
    Ok(format!("{tag} {} {}\n", canonical(stream.peer_addr()?), canonical(stream.local_addr()?)))
}

/// Turns an IPv4-mapped IPv6 address into the IPv4 address.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
