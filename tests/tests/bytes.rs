//! What the relay does to the bytes of a connection: nothing that either end could notice.
//!
//! Where TCP itself has a say, each test does the same thing twice, over a direct connection and over a stolen one,
//! and asks the same of both.

#[path = "bytes/ground.rs"]
mod ground;

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rstest::rstest;
use testbed::{Checksum, netns_test, receive, send, wait_until};

use self::ground::{
    Ends, Ground, Side, Way, finish, raise_open_files, reset, sockets, unacknowledged,
};

const MIB: u64 = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);
const WAYS: [Way; 2] = [Way::Direct, Way::Stolen];

#[rstest]
#[case::the_caller(Side::Caller)]
#[case::the_target(Side::Target)]
fn who_has_closed_his_half_still_reads_a_long_answer(#[case] first: Side) {
    netns_test("half-close", |t| {
        let ground = Ground::new(t)?;
        for way in WAYS {
            let (mut asks, mut answers) = ground.connect(way)?.of(first);
            asks.write_all(b"a question")?;
            finish(&asks)?;

            let mut question = String::new();
            answers.read_to_string(&mut question)?;
            assert_eq!(question, "a question");

            let sender = thread::spawn(move || {
                let sent = send(&answers, 8 * MIB)?;
                finish(&answers).map(|()| sent)
            });
            let received = receive(&asks)?;
            assert_eq!(received, join(sender)?, "{way:?}");
        }
        drop_all(&ground)
    });
}

#[rstest]
#[case::the_caller(Side::Caller)]
#[case::the_target(Side::Target)]
fn a_reset_of_one_side_reaches_the_other(#[case] first: Side) {
    netns_test("reset", |t| {
        let ground = Ground::new(t)?;
        let files = ground.open_files()?;
        for way in WAYS {
            let (mut breaks, mut stays) = ground.connect(way)?.of(first);
            // Both ways of an established connection were used, as in real life.
            breaks.write_all(b"hello")?;
            stays.read_exact(&mut [0; 5])?;
            stays.write_all(b"hello")?;
            breaks.read_exact(&mut [0; 5])?;

            reset(breaks)?;
            let end = stays.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{way:?}");
        }
        ground.wait_for_files(files)
    });
}

#[rstest]
#[case::the_caller(Side::Caller)]
#[case::the_target(Side::Target)]
fn a_reset_reaches_a_side_that_does_not_read(#[case] first: Side) {
    netns_test("queued", |t| {
        let ground = Ground::new(t)?;
        let files = ground.open_files()?;
        for way in WAYS {
            let (breaks, stays) = ground.connect(way)?.of(first);
            // All buffers on the way are full now.
            fill(&breaks)?;
            reset(breaks)?;

            // Without anybody reading or writing, or it would go on for as long as the other side lives.
            wait_for_reset(&stays).with_context(|| format!("{way:?}"))?;
            let end = receive(&stays).map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{way:?}");
        }
        ground.wait_for_files(files)
    });
}

#[rstest]
#[case::the_caller(Side::Caller)]
#[case::the_target(Side::Target)]
fn a_reset_reaches_a_side_that_can_not_write(#[case] first: Side) {
    netns_test("blocked", |t| {
        let ground = Ground::new(t)?;
        let files = ground.open_files()?;
        for way in WAYS {
            let (breaks, mut stays) = ground.connect(way)?.of(first);
            fill(&stays)?;
            reset(breaks)?;

            wait_for_reset(&stays).with_context(|| format!("{way:?}"))?;
            let end = stays.write(b"more").map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{way:?}");
        }
        ground.wait_for_files(files)
    });
}

/// What a web server does that refuses an upload: it answers, and closes without reading the rest.
#[test]
fn the_answer_before_a_reset_still_arrives() {
    netns_test("answer", |t| {
        let ground = Ground::new(t)?;
        let files = ground.open_files()?;
        for way in WAYS {
            let Ends { mut caller, mut target } = ground.connect(way)?;
            caller.write_all(&[b'x'; 100_000])?;
            target.read_exact(&mut [0; 10])?;
            target.write_all(b"too large")?;
            // Something is unread, so this is a reset.
            drop(target);

            let mut answer = [0; 9];
            caller.read_exact(&mut answer).with_context(|| format!("{way:?}"))?;
            assert_eq!(&answer, b"too large");
            let end = caller.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{way:?}");
        }
        ground.wait_for_files(files)
    });
}

/// Bytes that were acknowledged before the reset are the reader's, however slowly it takes them.
#[test]
fn all_that_was_said_before_a_reset_still_arrives() {
    netns_test("last-words", |t| {
        let ground = Ground::new(t)?;
        for way in WAYS {
            let Ends { caller, target } = ground.connect(way)?;
            let laptop = ground.laptop.clone();
            let sender = thread::spawn(move || -> Result<Checksum> {
                let sent = send(&target, 8 * MIB)?;
                wait_until("all to be acknowledged", SECOND * 10, || {
                    match unacknowledged(&laptop, &target) {
                        Ok(0) => Ok(()),
                        Ok(bytes) => Err(format!("{bytes} bytes")),
                        Err(error) => Err(format!("{error:#}")),
                    }
                })?;
                reset(target)?;
                Ok(sent)
            });
            let mut sum = Checksum::default();
            let end = read_slowly(&caller, &mut sum);
            assert_eq!(sum, sender.join().expect("no panic")?, "{way:?}");
            assert_eq!(
                end.map_err(|error| error.kind()),
                Err(ErrorKind::ConnectionReset),
                "{way:?}"
            );
        }
        Ok(())
    });
}

#[test]
fn single_bytes_are_not_held_back_to_fill_a_packet() {
    netns_test("bytewise", |t| {
        let ground = Ground::new(t)?;
        let Ends { mut caller, mut target } = ground.connect(Way::Stolen)?;
        const PAUSE: Duration = Duration::from_micros(500);
        // Byte by byte, and far enough apart for the relay to see each by itself.
        let dribble = |mut to: &TcpStream, bytes: [u8; 2]| -> io::Result<()> {
            to.write_all(&bytes[..1])?;
            thread::sleep(PAUSE);
            to.write_all(&bytes[1..])
        };
        let target = thread::spawn(move || -> io::Result<()> {
            let mut bytes = [0; 2];
            for _ in 0..100 {
                target.read_exact(&mut bytes)?;
                dribble(&target, bytes)?;
            }
            Ok(())
        });
        // Of two small writes in a row, Nagle's algorithm holds the second until the first is acknowledged, which
        // the other side, having nothing to say yet, puts off for 40 ms.
        let mut stalls = 0;
        for number in 0..100 {
            let started = Instant::now();
            dribble(&caller, [number, !number])?;
            let mut back = [0; 2];
            caller.read_exact(&mut back)?;
            assert_eq!(back, [number, !number]);
            stalls += u32::from(started.elapsed() >= Duration::from_millis(38));
        }
        // A busy machine is late now and then; the algorithm always is.
        assert!(stalls < 10, "{stalls} of 100 exchanges stalled");
        join(target)
    });
}

#[rstest]
#[case::from_the_caller(Side::Caller)]
#[case::from_the_target(Side::Target)]
fn many_single_bytes_arrive_in_order(#[case] side: Side) {
    netns_test("single", |t| {
        let ground = Ground::new(t)?;
        let (mut sends, receives) = ground.connect(Way::Stolen)?.of(side);
        let sender = thread::spawn(move || -> io::Result<Checksum> {
            let mut sum = Checksum::default();
            for number in 0_u32..20_000 {
                // The sequence repeats after a prime number of bytes, so that a shift shows.
                let byte = [(number % 251) as u8];
                sends.write_all(&byte)?;
                sum.add(&byte);
            }
            finish(&sends).map(|()| sum)
        });
        assert_eq!(receive(&receives)?, join(sender)?);
        Ok(())
    });
}

#[test]
fn a_gibibyte_each_way_at_once_arrives_unharmed() {
    let bytes = 1024 * MIB;
    netns_test("bulk", |t| {
        let ground = Ground::new(t)?;
        let Ends { caller, target } = ground.connect(Way::Stolen)?;
        let talk = |stream: &TcpStream| -> io::Result<Checksum> {
            let sent = send(stream, bytes)?;
            finish(stream).map(|()| sent)
        };
        thread::scope(|scope| -> Result<()> {
            let up = scope.spawn(|| talk(&caller));
            let down = scope.spawn(|| talk(&target));
            let at_target = scope.spawn(|| receive(&target));
            let at_caller = receive(&caller)?;
            let [up, down, at_target] =
                [up, down, at_target].map(|thread| thread.join().expect("no panic"));
            assert_eq!((at_target?, at_caller), (up?, down?));
            Ok(())
        })?;
        drop_all(&ground)?;
        for direction in ["to_target", "from_target"] {
            let counted =
                ground.daemon.metric("interceptor_bytes_total", &[("direction", direction)]);
            assert_eq!(counted, bytes as f64, "{direction}");
        }
        Ok(())
    });
}

#[test]
fn nine_thousand_connections_are_open_at_once_and_each_is_answered() {
    const COUNT: usize = 9_000;
    netns_test("many", |t| {
        raise_open_files()?;
        let ground = Ground::new(t)?;
        let (files, memory) = (ground.open_files()?, ground.memory()?);
        let (mut callers, mut targets) = (Vec::new(), Vec::new());
        thread::scope(|scope| -> Result<()> {
            let accepted =
                scope.spawn(|| (0..COUNT).map(|_| ground.accept()).collect::<io::Result<Vec<_>>>());
            callers = ground.client.run(|| {
                let to = ground.to(Way::Stolen);
                (0..COUNT)
                    .map(|_| TcpStream::connect_timeout(&to, SECOND * 5))
                    .collect::<io::Result<Vec<_>>>()
            })?;
            targets = accepted.join().expect("no panic")?;
            Ok(())
        })?;
        assert_eq!(ground.active(), COUNT as f64);
        let each = ground.memory()?.saturating_sub(memory) * 1024 / COUNT as u64;
        assert!(each <= 20 * 1024, "{each} bytes of the daemon's memory for each idle connection");

        for (number, caller) in callers.iter_mut().enumerate() {
            caller.set_read_timeout(Some(SECOND * 5))?;
            caller.write_all(&(number as u32).to_be_bytes())?;
        }
        for target in &mut targets {
            let mut number = [0; 4];
            target.read_exact(&mut number)?;
            target.write_all(&number)?;
        }
        for (number, caller) in callers.iter_mut().enumerate() {
            let mut answer = [0; 4];
            caller
                .read_exact(&mut answer)
                .with_context(|| format!("the answer to caller {number}"))?;
            assert_eq!(u32::from_be_bytes(answer), number as u32);
        }
        drop((callers, targets));
        ground.wait_for_files(files)
    });
}

#[rstest]
#[case::the_target(Side::Caller)]
#[case::the_caller(Side::Target)]
fn a_reader_that_never_reads_holds_its_sender_back(#[case] side: Side) {
    netns_test("deaf", |t| {
        let ground = Ground::new(t)?;
        let before = ground.memory()?;
        let (sends, _deaf) = ground.connect(Way::Stolen)?.of(side);
        let taken = fill(&sends)?;
        let grown = ground.memory()?.saturating_sub(before);
        assert!(
            grown < 3 * 1024,
            "the daemon grew by {grown} KiB for the {taken} bytes that it took"
        );
        Ok(())
    });
}

#[rstest]
#[case::the_target(Side::Caller)]
#[case::the_caller(Side::Target)]
fn a_slow_reader_gets_everything(#[case] side: Side) {
    netns_test("slow", |t| {
        let ground = Ground::new(t)?;
        let memory = ground.memory()?;
        let (sends, reads) = ground.connect(Way::Stolen)?.of(side);
        let sender = thread::spawn(move || {
            // More than all buffers on the way hold, so that the relay is held back too.
            let sent = send(&sends, 48 * MIB)?;
            finish(&sends).map(|()| sent)
        });
        let mut sum = Checksum::default();
        read_slowly(&reads, &mut sum)?;
        assert_eq!(sum, join(sender)?);
        let grown = ground.memory()?.saturating_sub(memory);
        assert!(grown < 3 * 1024, "the daemon grew by {grown} KiB");
        Ok(())
    });
}

#[test]
fn a_server_that_speaks_first_is_heard_at_once() {
    netns_test("greeting", |t| {
        let ground = Ground::new(t)?;
        let mut took = (0..21)
            .map(|_| {
                let started = Instant::now();
                let mut caller = ground.call(Way::Stolen)?;
                let mut target = ground.accept()?;
                target.write_all(b"welcome")?;
                caller.read_exact(&mut [0; 7])?;
                Ok(started.elapsed())
            })
            .collect::<Result<Vec<_>>>()?;
        // One or two may be late on a busy machine; if the relay waited for the caller, all would be.
        took.sort_unstable();
        assert!(took[10] < Duration::from_millis(50), "{took:?}");
        Ok(())
    });
}

#[test]
fn thousands_of_short_connections_leave_nothing_behind() {
    netns_test("short", |t| {
        let ground = Ground::new(t)?;
        let files = ground.open_files()?;
        // The first round fills pools and caches.
        exchanges(&ground, 1_000)?;
        ground.wait_for_files(files)?;
        let memory = ground.memory()?;
        exchanges(&ground, 5_000)?;
        ground.wait_for_files(files)?;

        let redirected =
            ground.daemon.metric("interceptor_connections_total", &[("outcome", "redirected")]);
        assert_eq!(redirected, 6_000.0);
        wait_until("the sockets in the pod to close", SECOND * 5, || match sockets(&ground.pod) {
            open if open.is_empty() => Ok(()),
            open => Err(open.join("\n")),
        })?;
        let grown = ground.memory()?.saturating_sub(memory);
        assert!(grown < 1024, "the daemon grew by {grown} KiB");
        Ok(())
    });
}

/// Short connections, two at a time, each with a question and an answer.
fn exchanges(ground: &Ground, count: usize) -> Result<()> {
    let call = || -> Result<()> {
        let mut caller = ground.call(Way::Stolen)?;
        caller.write_all(b"question")?;
        let mut answer = String::new();
        caller.read_to_string(&mut answer)?;
        ensure!(answer == "answer", "{answer:?}");
        Ok(())
    };
    let answer = || -> Result<()> {
        let mut target = ground.accept()?;
        target.read_exact(&mut [0; 8])?;
        target.write_all(b"answer")?;
        Ok(())
    };
    thread::scope(|scope| {
        let half = || (0..count / 2).try_for_each(|_| call());
        let callers = [scope.spawn(half), scope.spawn(half)];
        let answered = (0..count).try_for_each(|_| answer());
        let called = callers.into_iter().try_for_each(|caller| caller.join().expect("no panic"));
        called.and(answered)
    })
}

#[test]
fn callers_that_leave_at_once_do_no_harm() {
    netns_test("hasty", |t| {
        let ground = Ground::new(t)?;
        let files = ground.open_files()?;
        for number in 0..200 {
            let caller = ground.call(Way::Stolen)?;
            if number % 2 == 0 { reset(caller)? } else { drop(caller) }
        }
        let seen = || -> Result<f64> {
            let counted = |outcome| {
                ground.daemon.metric("interceptor_connections_total", &[("outcome", outcome)])
            };
            Ok(counted("redirected") + counted("refused"))
        };
        wait_until("all of them to be counted", SECOND * 5, || {
            seen().is_ok_and(|count| count == 200.0)
        })?;
        let redirected =
            ground.daemon.metric("interceptor_connections_total", &[("outcome", "redirected")])
                as usize;
        for _ in 0..redirected {
            // End of stream or a reset; to hear nothing is neither.
            let end = ground.accept()?.read(&mut [0]).map_err(|error| error.kind());
            assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
        }
        ground.wait_for_files(files)?;

        let Ends { mut caller, mut target } = ground.connect(Way::Stolen)?;
        caller.write_all(b"still here?")?;
        target.read_exact(&mut [0; 11])?;
        Ok(())
    });
}

/// Writes until nothing more is taken, and says how much was.
fn fill(mut stream: &TcpStream) -> Result<u64> {
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

/// Reads to the end, at some 50 MiB/s.
fn read_slowly(mut stream: &TcpStream, sum: &mut Checksum) -> io::Result<()> {
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

/// Waits until the kernel knows that the other side broke off, without reading or writing.
fn wait_for_reset(stream: &TcpStream) -> Result<()> {
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
fn join<T>(thread: thread::JoinHandle<io::Result<T>>) -> Result<T> {
    Ok(thread.join().expect("no panic")?)
}

/// After all ends were dropped: the relay has nothing open any more.
fn drop_all(ground: &Ground) -> Result<()> {
    wait_until("the relay to close its connections", SECOND * 5, || ground.active() == 0.0)
}
