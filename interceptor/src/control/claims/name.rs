//! The name of a port, which one daemon of a node holds at a time.
//!
//! It is an abstract Unix socket (unix(7)) of the daemon's own network namespace, which is the
//! node's. The kernel keeps it unique, and frees it when the daemon ends, however that happens.
//! Daemons in different network namespaces do not see each other's names.
//!
//! The holder's socket listens. Another daemon that wants the port connects, and reads who holds
//! it. The end of that connection tells that the port is free. Nothing depends on who the holder
//! says that it is.

use std::{
    ffi::OsString,
    fmt,
    future::poll_fn,
    io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use interceptor_common::port::Port;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{control::task::OwnedTask, netns::NetnsId};

/// Maximum number of other daemons that wait for one port. Each has a file descriptor.
const MAX_WAITING: usize = 4;
/// Maximum length of what a holder says about itself, in bytes.
const MAX_INTRODUCTION: usize = 256;
/// Maximum time for a holder to say who it is. A daemon that hangs says nothing.
const TIMEOUT: Duration = Duration::from_millis(100);
/// The pause of a holder that is out of file descriptors.
const SHORTAGE: Duration = Duration::from_millis(100);
/// Maximum number of attempts to hold a name that is released at the same time.
const TRIES: u32 = 3;

/// A name that this daemon holds. Dropping this frees it.
#[derive(Debug)]
pub(super) struct PortName {
    listener: Arc<Mutex<Option<UnixListener>>>,
    _receive: OwnedTask,
}

/// Why a name can't be held.
#[derive(Debug)]
pub(super) enum HoldError {
    /// Another daemon holds it.
    Held(Holder),
    /// The kernel reported this.
    Io(io::Error),
}

/// The daemon that holds a name.
#[derive(Debug)]
pub(super) struct Holder {
    /// What it said about itself. Empty if it said nothing.
    introduction: String,
    /// Its process. `None` if that is in a container with processes of its own.
    pid: Option<i32>,
    connection: UnixStream,
}

/// What a daemon that is `instance` says about itself.
pub(super) fn introduction(instance: Option<&str>) -> Arc<str> {
    Arc::from(format!("{}\n", instance.unwrap_or_default()))
}

/// The address of a port's name. A zero byte at the start makes it abstract.
fn address(netns: NetnsId, port: Port) -> PathBuf {
    let (device, inode) = netns.device_and_inode();
    let (protocol, number) = (port.protocol(), port.number());
    let name = format!("\0interceptor/{device}:{inode}/{protocol}/{number}");
    OsString::from_vec(name.into_bytes()).into()
}

// === impl PortName ===

impl PortName {
    /// Takes the name of a port. Call this in the daemon's own network namespace.
    pub(super) async fn hold(
        netns: NetnsId,
        port: Port,
        introduction: &Arc<str>,
    ) -> Result<Self, HoldError> {
        let address = address(netns, port);
        for _ in 0..TRIES {
            match UnixListener::bind(&address) {
                Ok(listener) => return Ok(Self::new(listener, introduction)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(HoldError::Io(error)),
            }
            match Holder::meet(&address).await {
                Ok(holder) => return Err(HoldError::Held(holder)),
                // It has been released since.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(HoldError::Io(error)),
            }
        }
        Err(HoldError::Io(io::ErrorKind::AddrInUse.into()))
    }

    fn new(listener: UnixListener, introduction: &Arc<str>) -> Self {
        let listener = Arc::new(Mutex::new(Some(listener)));
        let receive = receive(Arc::clone(&listener), Arc::clone(introduction));
        Self { listener, _receive: OwnedTask::spawn(receive) }
    }
}

impl Drop for PortName {
    fn drop(&mut self) {
        // The task may end later. The name must be free now.
        *self.listener.lock() = None;
    }
}

/// Introduces the holder to those who connect, and keeps their connections open.
async fn receive(listener: Arc<Mutex<Option<UnixListener>>>, introduction: Arc<str>) {
    // Dropping the set closes the connections.
    let mut waiting = JoinSet::new();
    loop {
        let accepted = poll_fn(|cx| match &*listener.lock() {
            Some(listener) => listener.poll_accept(cx).map(Some),
            None => Poll::Ready(None),
        });
        match accepted.await {
            Some(Ok((stream, _))) => {
                while waiting.try_join_next().is_some() {}
                if waiting.len() < MAX_WAITING {
                    waiting.spawn(introduce(stream, Arc::clone(&introduction)));
                }
            }
            Some(Err(_)) => sleep(SHORTAGE).await,
            None => return,
        }
    }
}

/// Says who the holder is, then waits for the end of the connection.
async fn introduce(mut stream: UnixStream, introduction: Arc<str>) {
    if stream.write_all(introduction.as_bytes()).await.is_ok() {
        let _ = stream.read(&mut [0]).await;
    }
}

// === impl Holder ===

impl Holder {
    /// Connects to the holder of a name, and learns who it is.
    async fn meet(address: &Path) -> io::Result<Self> {
        let mut connection = UnixStream::connect(address).await?;
        // The kernel knows it from the time when the holder began to listen. Zero is a process
        // that this one can't see.
        let pid = connection.peer_cred().ok().and_then(|peer| peer.pid()).filter(|&pid| pid > 0);
        let mut introduction = Vec::new();
        let read = async {
            while !introduction.ends_with(b"\n") && introduction.len() < MAX_INTRODUCTION {
                if connection.read_buf(&mut introduction).await.unwrap_or(0) == 0 {
                    return;
                }
            }
        };
        let _ = timeout(TIMEOUT, read).await;
        Ok(Self { introduction: printable(&introduction), pid, connection })
    }

    /// Waits until the holder has released the name, or has ended.
    pub(super) async fn ended(&mut self) {
        let mut rest = [0; 64];
        while self.connection.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.introduction, self.pid) {
            ("", None) => f.write_str("a process of another container"),
            ("", Some(pid)) => write!(f, "process {pid}"),
            (introduction, None) => f.write_str(introduction),
            (introduction, Some(pid)) => write!(f, "{introduction} (process {pid})"),
        }
    }
}

/// The first line of `bytes`, without anything that a terminal or a log might act upon.
fn printable(bytes: &[u8]) -> String {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = &line[..line.len().min(MAX_INTRODUCTION)];
    String::from_utf8_lossy(line).chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_holder_says_is_one_printable_line() {
        assert_eq!(printable(b"shop/web\nmore"), "shop/web");
        assert_eq!(printable(b"\x1b[2Jgone\x07"), "[2Jgone");
        assert_eq!(printable(&[b'x'; 2 * MAX_INTRODUCTION]).len(), MAX_INTRODUCTION);
        assert_eq!(printable(b""), "");
    }
}
