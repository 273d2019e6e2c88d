//! Small pieces are passed on at once.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use rstest::rstest;
use testbed::{Checksum, netns_test, receive};

use crate::{
    ends::{finish, join},
    fixture::{Ends, Fixture, Route, Side},
};

#[test]
fn single_bytes_are_not_held_back_to_fill_a_packet() {
    netns_test("bytewise", |t| {
        let fixture = Fixture::new(t)?;
        let Ends { mut caller, mut target } = fixture.connect(Route::Stolen)?;
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
#[case::from_the_caller(Side::Client)]
#[case::from_the_target(Side::Target)]
fn many_single_bytes_arrive_in_order(#[case] side: Side) {
    netns_test("single", |t| {
        let fixture = Fixture::new(t)?;
        let (mut sends, receives) = fixture.connect(Route::Stolen)?.of(side);
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
fn a_server_that_speaks_first_is_heard_at_once() {
    netns_test("greeting", |t| {
        let fixture = Fixture::new(t)?;
        let mut took = (0..21)
            .map(|_| {
                let started = Instant::now();
                let mut caller = fixture.call(Route::Stolen)?;
                let mut target = fixture.accept()?;
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
