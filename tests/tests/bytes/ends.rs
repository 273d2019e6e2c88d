//! Actions on the ends of a connection.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use socket2::SockRef;
use testbed::{Checksum, wait_until};

use crate::{MIB, SECOND, fixture::Fixture};

/// Closes a connection by a reset, as when a program is killed with data unread.
pub(crate) fn reset(stream: TcpStream) -> io::Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}

/// Closes one half: the other side reads the end of the stream.
pub(crate) fn finish(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)
}

/// Writes until all buffers are full, and returns the number of bytes.
pub(crate) fn fill(mut stream: &TcpStream) -> Result<u64> {
    // The kernel's buffers grow to a few MiB in each of the three hosts on the way.
    const MAXIMUM: u64 = 128 * MIB;
    let timeout = stream.write_timeout()?;
    stream.set_write_timeout(Some(SECOND / 2))?;
    let block = vec![b'x'; 64 * 1024];
    let mut taken = 0;
    loop {
        match stream.write(&block) {
            Ok(length) => taken += length as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error).context("fill the buffers"),
        }
        ensure!(taken < MAXIMUM, "the buffers are not full after {taken} bytes");
    }
    stream.set_write_timeout(timeout)?;
    Ok(taken)
}

/// Waits until the kernel reports the reset of the other side, without reading or writing.
pub(crate) fn wait_for_reset(stream: &TcpStream) -> Result<()> {
    wait_until("the reset", SECOND * 10, || is_reset(stream))
}

fn is_reset(stream: &TcpStream) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd as _;

    // poll reports POLLERR and POLLHUP without being asked.
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
        && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
}

/// The result of a thread.
pub(crate) fn join<T>(thread: thread::JoinHandle<io::Result<T>>) -> Result<T> {
    Ok(thread.join().expect("no panic")?)
}

/// Waits until the relay has no connection. The test has dropped all ends before.
pub(crate) fn wait_for_close(f: &Fixture) -> Result<()> {
    wait_until("the relay to close its connections", SECOND * 5, || f.active() == 0.0)
}

/// Reads to the end, at about 50 MiB/s.
pub(crate) fn read_slowly(mut stream: &TcpStream, sum: &mut Checksum) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => sum.add(&buffer[..length]),
        }
        // The pause limits the rate.
        thread::sleep(Duration::from_millis(1));
    }
}
