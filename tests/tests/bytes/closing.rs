//! Half-close and reset of either side, with and without data on the way.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    thread,
};

use anyhow::{Context as _, Result};
use rstest::rstest;
use socket2::SockRef;
use testbed::{Checksum, netns_test, receive, send, wait_until};

use crate::{
    MIB, ROUTES, SECOND,
    ends::{fill, finish, join, read_slowly, reset, wait_for_close, wait_for_reset},
    fixture::{Ends, Fixture, Side, unacknowledged},
};

#[rstest]
#[case::the_client(Side::Client)]
#[case::the_target(Side::Target)]
fn a_side_that_has_closed_its_half_still_reads_a_long_answer(#[case] first: Side) {
    netns_test("half-close", |t| {
        let f = Fixture::new(t)?;
        for route in ROUTES {
            let (mut asks, mut answers) = f.connect(route)?.of(first);
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
            assert_eq!(received, join(sender)?, "{route:?}");
        }
        wait_for_close(&f)
    });
}

/// A reader with `SO_OOBINLINE`, as RFC 6093 recommends. The relay does not pass the mark on, so a
/// reader without it gets the byte in the stream, too.
#[rstest]
#[case::the_client(Side::Client)]
#[case::the_target(Side::Target)]
fn an_urgent_byte_keeps_its_place_in_the_stream(#[case] first: Side) {
    netns_test("urgent", |t| {
        let f = Fixture::new(t)?;
        for route in ROUTES {
            let (mut sends, mut reads) = f.connect(route)?.of(first);
            SockRef::from(&reads).set_out_of_band_inline(true)?;
            for _ in 0..20 {
                sends.write_all(b"ab")?;
                SockRef::from(&sends).send_out_of_band(b"c!")?;
                sends.write_all(b"de")?;
            }
            finish(&sends)?;
            let mut received = String::new();
            reads.read_to_string(&mut received)?;
            assert_eq!(received, "abc!de".repeat(20), "{route:?}");
        }
        Ok(())
    });
}

#[rstest]
#[case::the_client(Side::Client)]
#[case::the_target(Side::Target)]
fn a_reset_reaches_the_other_side(#[case] first: Side) {
    netns_test("reset", |t| {
        let f = Fixture::new(t)?;
        let files = f.open_files()?;
        for route in ROUTES {
            let (mut breaks, mut stays) = f.connect(route)?.of(first);
            // Both directions of the connection are in use first.
            breaks.write_all(b"hello")?;
            stays.read_exact(&mut [0; 5])?;
            stays.write_all(b"hello")?;
            breaks.read_exact(&mut [0; 5])?;

            reset(breaks)?;
            let end = stays.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{route:?}");
        }
        f.wait_for_files(files)
    });
}

#[rstest]
#[case::the_client(Side::Client)]
#[case::the_target(Side::Target)]
fn a_reset_reaches_a_side_that_does_not_read(#[case] first: Side) {
    netns_test("queued", |t| {
        let f = Fixture::new(t)?;
        let files = f.open_files()?;
        for route in ROUTES {
            let (breaks, stays) = f.connect(route)?.of(first);
            // This fills all buffers on the way.
            fill(&breaks)?;
            reset(breaks)?;

            // Neither end reads or writes, so a connection that misses the reset would stay open.
            wait_for_reset(&stays).with_context(|| format!("{route:?}"))?;
            let end = receive(&stays).map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{route:?}");
        }
        f.wait_for_files(files)
    });
}

#[rstest]
#[case::the_client(Side::Client)]
#[case::the_target(Side::Target)]
fn a_reset_reaches_a_side_that_cannot_write(#[case] first: Side) {
    netns_test("blocked", |t| {
        let f = Fixture::new(t)?;
        let files = f.open_files()?;
        for route in ROUTES {
            let (breaks, mut stays) = f.connect(route)?.of(first);
            fill(&stays)?;
            reset(breaks)?;

            wait_for_reset(&stays).with_context(|| format!("{route:?}"))?;
            let end = stays.write(b"more").map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{route:?}");
        }
        f.wait_for_files(files)
    });
}

/// A web server that refuses an upload does this: it responds, and closes without reading the rest.
#[test]
fn the_answer_before_a_reset_arrives() {
    netns_test("answer", |t| {
        let f = Fixture::new(t)?;
        let files = f.open_files()?;
        for route in ROUTES {
            let Ends { mut client, mut target } = f.connect(route)?;
            client.write_all(&[b'x'; 100_000])?;
            target.read_exact(&mut [0; 10])?;
            target.write_all(b"too large")?;
            // Unread bytes turn the close into a reset.
            drop(target);

            let mut answer = [0; 9];
            client.read_exact(&mut answer).with_context(|| format!("{route:?}"))?;
            assert_eq!(&answer, b"too large");
            let end = client.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{route:?}");
        }
        f.wait_for_files(files)
    });
}

/// The reader gets all bytes that the kernel acknowledged before the reset, however slowly it
/// reads.
#[test]
fn all_bytes_before_a_reset_arrive() {
    netns_test("last-words", |t| {
        let f = Fixture::new(t)?;
        for route in ROUTES {
            let Ends { client, target } = f.connect(route)?;
            let laptop = f.laptop.clone();
            let sender = thread::spawn(move || -> Result<Checksum> {
                let sent = send(&target, 8 * MIB)?;
                wait_until("all bytes to be acknowledged", SECOND * 10, || {
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
            let end = read_slowly(&client, &mut sum);
            assert_eq!(sum, sender.join().expect("no panic")?, "{route:?}");
            assert_eq!(
                end.map_err(|error| error.kind()),
                Err(ErrorKind::ConnectionReset),
                "{route:?}"
            );
        }
        Ok(())
    });
}
