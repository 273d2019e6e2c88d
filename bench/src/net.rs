//! Sockets for the loads, without Nagle's algorithm and with timeouts.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};

/// Maximum time that a load waits for a connection, an answer, or the last bytes of a stream.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Opens a connection with blocking calls and timeouts.
pub(crate) fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Starts a non-blocking connection for use with epoll.
pub(crate) fn start_connect(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(to),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&to.into()) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// The name of an error, such as `ECONNREFUSED`, by which failures are counted.
pub(crate) fn errno_name(error: &io::Error) -> String {
    error
        .raw_os_error()
        .map_or_else(|| format!("{:?}", error.kind()), |raw| format!("{:?}", Errno::from_raw(raw)))
}

/// Raises the limit of open files to the maximum that this process may set.
pub(crate) fn raise_fd_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the limit of open files")
}

/// The monotonic clock in nanoseconds. All processes of the machine share it.
pub(crate) fn monotonic_ns() -> u64 {
    // The call can't fail for this clock.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| Duration::from(time).as_nanos() as u64)
}

/// Checks a length of time from the command line.
pub(crate) fn duration(seconds: f64) -> Result<Duration> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration >= Duration::from_millis(10) && seconds <= 3600.0 => Ok(duration),
        _ => bail!("--seconds must be between 0.01 and 3600"),
    }
}
