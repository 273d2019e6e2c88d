//! What tests do with the two ends of a connection.

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

/// Closes a connection by a reset, as a program does that is killed with data unread.
pub(crate) fn reset(stream: TcpStream) -> io::Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}

/// Says that nothing more will be sent.
pub(crate) fn finish(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)
}

/// Writes until nothing more is taken, and says how much was.
pub(crate) fn fill(mut stream: &TcpStream) -> Result<u64> {
    // The kernel's buffers grow to a few MiB at each of the three places on the way.
    const MOST: u64 = 128 * MIB;
    let patience = stream.write_timeout()?;
    stream.set_write_timeout(Some(SECOND / 2))?;
    let block = vec![b'x'; 64 * 1024];
    let mut taken = 0;
    loop {
        match stream.write(&block) {
            Ok(length) => taken += length as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error).context("fill the buffers"),
        }
        ensure!(taken < MOST, "the sender was not held back after {taken} bytes");
    }
    stream.set_write_timeout(patience)?;
    Ok(taken)
}

/// Waits until the kernel knows that the other side broke off, without reading or writing.
pub(crate) fn wait_for_reset(stream: &TcpStream) -> Result<()> {
    wait_until("the reset", SECOND * 10, || is_reset(stream))
}

fn is_reset(stream: &TcpStream) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd as _;

    // POLLERR and POLLHUP are always reported; nothing else is asked for.
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
        && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
}

/// The result of a thread that also may have failed.
pub(crate) fn join<T>(thread: thread::JoinHandle<io::Result<T>>) -> Result<T> {
    Ok(thread.join().expect("no panic")?)
}

/// After all ends were dropped: the relay has nothing open any more.
pub(crate) fn drop_all(fixture: &Fixture) -> Result<()> {
    wait_until("the relay to close its connections", SECOND * 5, || fixture.active() == 0.0)
}
/// Reads to the end, at some 50 MiB/s.
pub(crate) fn read_slowly(mut stream: &TcpStream, sum: &mut Checksum) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => sum.add(&buffer[..length]),
        }
        // This is what makes it slow; nothing is awaited here.
        thread::sleep(Duration::from_millis(1));
    }
}
