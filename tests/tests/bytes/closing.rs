//! Half-close and reset of either side, with and without data on the way.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    thread,
};

use anyhow::{Context as _, Result};
use rstest::rstest;
use testbed::{Checksum, netns_test, receive, send, wait_until};

use crate::{
    MIB, ROUTES, SECOND,
    ends::{drop_all, fill, finish, join, read_slowly, reset, wait_for_reset},
    fixture::{Ends, Fixture, Side, unacknowledged},
};

#[rstest]
#[case::the_caller(Side::Client)]
#[case::the_target(Side::Target)]
fn who_has_closed_his_half_still_reads_a_long_answer(#[case] first: Side) {
    netns_test("half-close", |t| {
        let fixture = Fixture::new(t)?;
        for way in ROUTES {
            let (mut asks, mut answers) = fixture.connect(way)?.of(first);
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
        drop_all(&fixture)
    });
}

#[rstest]
#[case::the_caller(Side::Client)]
#[case::the_target(Side::Target)]
fn a_reset_of_one_side_reaches_the_other(#[case] first: Side) {
    netns_test("reset", |t| {
        let fixture = Fixture::new(t)?;
        let files = fixture.open_files()?;
        for way in ROUTES {
            let (mut breaks, mut stays) = fixture.connect(way)?.of(first);
            // Both ways of an established connection were used, as in real life.
            breaks.write_all(b"hello")?;
            stays.read_exact(&mut [0; 5])?;
            stays.write_all(b"hello")?;
            breaks.read_exact(&mut [0; 5])?;

            reset(breaks)?;
            let end = stays.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{way:?}");
        }
        fixture.wait_for_files(files)
    });
}

#[rstest]
#[case::the_caller(Side::Client)]
#[case::the_target(Side::Target)]
fn a_reset_reaches_a_side_that_does_not_read(#[case] first: Side) {
    netns_test("queued", |t| {
        let fixture = Fixture::new(t)?;
        let files = fixture.open_files()?;
        for way in ROUTES {
            let (breaks, stays) = fixture.connect(way)?.of(first);
            // All buffers on the way are full now.
            fill(&breaks)?;
            reset(breaks)?;

            // Without anybody reading or writing, or it would go on for as long as the other side lives.
            wait_for_reset(&stays).with_context(|| format!("{way:?}"))?;
            let end = receive(&stays).map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{way:?}");
        }
        fixture.wait_for_files(files)
    });
}

#[rstest]
#[case::the_caller(Side::Client)]
#[case::the_target(Side::Target)]
fn a_reset_reaches_a_side_that_can_not_write(#[case] first: Side) {
    netns_test("blocked", |t| {
        let fixture = Fixture::new(t)?;
        let files = fixture.open_files()?;
        for way in ROUTES {
            let (breaks, mut stays) = fixture.connect(way)?.of(first);
            fill(&stays)?;
            reset(breaks)?;

            wait_for_reset(&stays).with_context(|| format!("{way:?}"))?;
            let end = stays.write(b"more").map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{way:?}");
        }
        fixture.wait_for_files(files)
    });
}

/// What a web server does that refuses an upload: it answers, and closes without reading the rest.
#[test]
fn the_answer_before_a_reset_still_arrives() {
    netns_test("answer", |t| {
        let fixture = Fixture::new(t)?;
        let files = fixture.open_files()?;
        for way in ROUTES {
            let Ends { mut caller, mut target } = fixture.connect(way)?;
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
        fixture.wait_for_files(files)
    });
}

/// Bytes that were acknowledged before the reset are the reader's, however slowly it takes them.
#[test]
fn all_that_was_said_before_a_reset_still_arrives() {
    netns_test("last-words", |t| {
        let fixture = Fixture::new(t)?;
        for way in ROUTES {
            let Ends { caller, target } = fixture.connect(way)?;
            let laptop = fixture.laptop.clone();
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
