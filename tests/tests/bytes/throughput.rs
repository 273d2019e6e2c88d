//! Many bytes, and readers that are slow or do not read at all.

use std::{io, net::TcpStream, thread};

use anyhow::Result;
use rstest::rstest;
use testbed::{Checksum, netns_test, receive, send};

use crate::{
    MIB,
    ends::{fill, finish, join, read_slowly, wait_for_close},
    fixture::{Ends, Fixture, Route, Side},
};

#[test]
fn a_gibibyte_in_each_direction_at_once_arrives_unchanged() {
    let bytes = 1024 * MIB;
    netns_test("bulk", |t| {
        let f = Fixture::new(t)?;
        let Ends { client, target } = f.connect(Route::Stolen)?;
        let transfer = |stream: &TcpStream| -> io::Result<Checksum> {
            let sent = send(stream, bytes)?;
            finish(stream).map(|()| sent)
        };
        thread::scope(|scope| -> Result<()> {
            let up = scope.spawn(|| transfer(&client));
            let down = scope.spawn(|| transfer(&target));
            let at_target = scope.spawn(|| receive(&target));
            let at_client = receive(&client)?;
            let [up, down, at_target] =
                [up, down, at_target].map(|thread| thread.join().expect("no panic"));
            assert_eq!((at_target?, at_client), (up?, down?));
            Ok(())
        })?;
        wait_for_close(&f)?;
        for direction in ["to_target", "from_target"] {
            let counted = f.daemon.metric("interceptor_bytes_total", &[("direction", direction)]);
            assert_eq!(counted, bytes as f64, "{direction}");
        }
        Ok(())
    });
}

#[rstest]
#[case::the_target(Side::Client)]
#[case::the_client(Side::Target)]
fn a_side_that_never_reads_stops_its_sender(#[case] side: Side) {
    netns_test("deaf", |t| {
        let f = Fixture::new(t)?;
        let before = f.memory()?;
        let (sends, _stuck) = f.connect(Route::Stolen)?.of(side);
        let taken = fill(&sends)?;
        let grown = f.memory()?.saturating_sub(before);
        assert!(grown < 3 * 1024, "the daemon grew by {grown} KiB for {taken} bytes");
        Ok(())
    });
}

#[rstest]
#[case::the_target(Side::Client)]
#[case::the_client(Side::Target)]
fn a_slow_reader_gets_all_bytes(#[case] side: Side) {
    netns_test("slow", |t| {
        let f = Fixture::new(t)?;
        let memory = f.memory()?;
        let (sends, reads) = f.connect(Route::Stolen)?.of(side);
        let sender = thread::spawn(move || {
            // More than all buffers on the way hold, so that the relay has to wait, too.
            let sent = send(&sends, 48 * MIB)?;
            finish(&sends).map(|()| sent)
        });
        let mut sum = Checksum::default();
        read_slowly(&reads, &mut sum)?;
        assert_eq!(sum, join(sender)?);
        let grown = f.memory()?.saturating_sub(memory);
        assert!(grown < 3 * 1024, "the daemon grew by {grown} KiB");
        Ok(())
    });
}
