//! The server for all loads. It uses epoll and a few threads, and few bytes per idle connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};

use crate::net::monotonic_ns;
use crate::usage;
use crate::wire::{self, MESSAGE, Receipt};

/// The epoll token of the listener. The token of a connection is its slot.
const LISTENER: u64 = u64::MAX;
/// Maximum number of connections accepted in a row before open connections get their turn.
const ACCEPT_BATCH: usize = 64;
const BUFFER: usize = 256 * 1024;
const FLOOD_CHUNK: usize = 128 * 1024;

/// Serves until SIGTERM or SIGINT, then prints the CPU time that it used.
pub(crate) fn run(listen: SocketAddr, threads: usize, id: u8) -> Result<()> {
    // Block the signals before the threads start, so that only `wait` below receives them.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;

    let listener = Arc::new(listener(listen).with_context(|| format!("listening on {listen}"))?);
    for _ in 0..threads.max(1) {
        let mut worker = Worker::new(Arc::clone(&listener), id)?;
        thread::spawn(move || {
            if let Err(error) = worker.run() {
                eprintln!("interceptor-bench: serve: {error:#}");
                std::process::exit(1);
            }
        });
    }
    let address = listener.local_addr()?.as_socket().map(|address| address.to_string());
    println!("{}", json!({ "serve": address, "ready": true, "id": id }));

    signals.wait()?;
    println!("{}", json!({ "serve": address, "ready": false, "cpu": usage::of_self()? }));
    Ok(())
}

fn listener(listen: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(listen),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit the option, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&listen.into())?;
    socket.listen(4096)?;
    Ok(socket)
}

/// The service that the client's first byte selects.
enum Mode {
    /// The first byte has not arrived.
    New,
    Echo,
    Sink(Receipt),
    Flood,
    /// The number of bytes of the message that have arrived.
    Once(usize),
}

struct Conn {
    socket: Socket,
    mode: Mode,
    /// The rest of an echo that the socket's buffer had no room for. The worker reads nothing until
    /// it is sent.
    unsent: Vec<u8>,
}

/// The next step for a connection after an event.
enum Next {
    Keep,
    Close,
    /// Wait for these events from now on.
    WaitFor(EpollFlags),
}

/// A thread with an epoll of its own. All threads share the listener.
struct Worker {
    listener: Arc<Socket>,
    epoll: Epoll,
    id: u8,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    buffer: Box<[u8]>,
    flood: Box<[u8]>,
}

impl Worker {
    fn new(listener: Arc<Socket>, id: u8) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
        epoll.add(&*listener, EpollEvent::new(flags, LISTENER))?;
        Ok(Self {
            listener,
            epoll,
            id,
            conns: Vec::new(),
            free: Vec::new(),
            buffer: vec![0; BUFFER].into(),
            flood: vec![id; FLOOD_CHUNK].into(),
        })
    }

    fn run(&mut self) -> Result<()> {
        let mut events = vec![EpollEvent::empty(); 512];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error).context("epoll_wait"),
            };
            for event in &events[..count] {
                if event.data() == LISTENER {
                    self.accept()?;
                } else {
                    self.turn(event.data() as usize)?;
                }
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        for _ in 0..ACCEPT_BATCH {
            let flags = nix::sys::socket::SockFlag::SOCK_NONBLOCK
                | nix::sys::socket::SockFlag::SOCK_CLOEXEC;
            let socket = match self.listener.accept4(flags.bits()) {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The client has closed its connection already.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    // Most likely there are too many open files. Pause, because the level-triggered
                    // listener would wake up at once.
                    eprintln!("interceptor-bench: serve: accept: {error}");
                    thread::sleep(Duration::from_millis(20));
                    return Ok(());
                }
            };
            let slot = self.free.pop().unwrap_or_else(|| {
                self.conns.push(None);
                self.conns.len() - 1
            });
            self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, slot as u64))?;
            self.conns[slot] = Some(Conn { socket, mode: Mode::New, unsent: Vec::new() });
        }
        Ok(())
    }

    /// Serves the connection in `slot` once. An error of the connection only closes it.
    fn turn(&mut self, slot: usize) -> Result<()> {
        let Some(conn) = self.conns.get_mut(slot).and_then(Option::as_mut) else { return Ok(()) };
        match conn.serve(self.id, &mut self.buffer, &self.flood) {
            Ok(Next::Keep) => {}
            Ok(Next::WaitFor(flags)) => {
                self.epoll.modify(&conn.socket, &mut EpollEvent::new(flags, slot as u64))?;
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(Next::Close) | Err(_) => {
                self.conns[slot] = None;
                self.free.push(slot);
            }
        }
        Ok(())
    }
}

impl Conn {
    fn serve(&mut self, id: u8, buffer: &mut [u8], flood: &[u8]) -> io::Result<Next> {
        if matches!(self.mode, Mode::Flood) {
            return self.flood(flood);
        }
        if !self.unsent.is_empty() {
            return self.flush();
        }
        let size = (&self.socket).read(buffer)?;
        let data = &mut buffer[..size];
        if let (Mode::New, Some(first)) = (&self.mode, data.first()) {
            self.mode = match *first {
                wire::ECHO => {
                    if let Some(second) = data.get_mut(1) {
                        *second = id;
                    }
                    Mode::Echo
                }
                wire::SINK => {
                    Mode::Sink(Receipt { id, bytes: 0, first_ns: monotonic_ns(), last_ns: 0 })
                }
                wire::FLOOD => Mode::Flood,
                wire::ONCE => Mode::Once(0),
                _ => return Ok(Next::Close),
            };
        }
        match &mut self.mode {
            Mode::New => Ok(Next::Close),
            // From now on the worker only writes. The next event tells that there is room.
            Mode::Flood => Ok(Next::WaitFor(EpollFlags::EPOLLOUT)),
            Mode::Sink(receipt) if size == 0 => {
                (&self.socket).write_all(&receipt.encode())?;
                Ok(Next::Close)
            }
            Mode::Sink(receipt) => {
                receipt.bytes += size as u64;
                receipt.last_ns = monotonic_ns();
                Ok(Next::Keep)
            }
            Mode::Echo if size == 0 => Ok(Next::Close),
            Mode::Echo => self.echo(data),
            Mode::Once(_) if size == 0 => Ok(Next::Close),
            Mode::Once(got) => {
                *got += size;
                if *got < MESSAGE {
                    return Ok(Next::Keep);
                }
                let mut answer = [wire::ONCE; MESSAGE];
                answer[1] = id;
                (&self.socket).write_all(&answer)?;
                Ok(Next::Close)
            }
        }
    }

    fn echo(&mut self, data: &[u8]) -> io::Result<Next> {
        let sent = match (&self.socket).write(data) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if sent == data.len() {
            return Ok(Next::Keep);
        }
        self.unsent.extend_from_slice(&data[sent..]);
        Ok(Next::WaitFor(EpollFlags::EPOLLOUT))
    }

    fn flush(&mut self) -> io::Result<Next> {
        let sent = (&self.socket).write(&self.unsent)?;
        self.unsent.drain(..sent);
        if !self.unsent.is_empty() {
            return Ok(Next::Keep);
        }
        self.unsent = Vec::new();
        Ok(Next::WaitFor(EpollFlags::EPOLLIN))
    }

    fn flood(&self, chunk: &[u8]) -> io::Result<Next> {
        // The number of bytes sent does not matter, because all bytes are the same.
        (&self.socket).write(chunk).map(|_| Next::Keep)
    }
}
