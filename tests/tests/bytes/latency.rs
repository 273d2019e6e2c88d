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
fn single_bytes_are_not_delayed_to_fill_a_packet() {
    netns_test("bytewise", |t| {
        let f = Fixture::new(t)?;
        let Ends { mut client, mut target } = f.connect(Route::Stolen)?;
        const PAUSE: Duration = Duration::from_micros(500);
        // The pause between two bytes is long enough for the relay to read each by itself.
        let send_singly = |mut to: &TcpStream, bytes: [u8; 2]| -> io::Result<()> {
            to.write_all(&bytes[..1])?;
            thread::sleep(PAUSE);
            to.write_all(&bytes[1..])
        };
        let target = thread::spawn(move || -> io::Result<()> {
            let mut bytes = [0; 2];
            for _ in 0..100 {
                target.read_exact(&mut bytes)?;
                send_singly(&target, bytes)?;
            }
            Ok(())
        });
        // With Nagle's algorithm, the second of two small writes waits for the acknowledgement of
        // the first, which the other side delays by 40 ms.
        let mut stalls = 0;
        for number in 0..100 {
            let started = Instant::now();
            send_singly(&client, [number, !number])?;
            let mut back = [0; 2];
            client.read_exact(&mut back)?;
            assert_eq!(back, [number, !number]);
            stalls += u32::from(started.elapsed() >= Duration::from_millis(38));
        }
        // A busy machine stalls some exchanges; Nagle's algorithm would stall all.
        assert!(stalls < 10, "{stalls} of 100 exchanges stalled");
        join(target)
    });
}

#[rstest]
#[case::from_the_client(Side::Client)]
#[case::from_the_target(Side::Target)]
fn single_bytes_arrive_in_order(#[case] side: Side) {
    netns_test("single", |t| {
        let f = Fixture::new(t)?;
        let (mut sends, receives) = f.connect(Route::Stolen)?.of(side);
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
        let f = Fixture::new(t)?;
        let mut took = (0..21)
            .map(|_| {
                let started = Instant::now();
                let mut client = f.connect_client(Route::Stolen)?;
                let mut target = f.accept()?;
                target.write_all(b"welcome")?;
                client.read_exact(&mut [0; 7])?;
                Ok(started.elapsed())
            })
            .collect::<Result<Vec<_>>>()?;
        // A busy machine may delay one or two. If the relay waited for the client, it would delay
        // all.
        took.sort_unstable();
        assert!(took[10] < Duration::from_millis(50), "{took:?}");
        Ok(())
    });
}
