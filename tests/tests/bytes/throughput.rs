//! Many bytes, and readers that are slow or do not read at all.

use std::{
    io::{self},
    net::TcpStream,
    thread,
};

use anyhow::Result;
use rstest::rstest;
use testbed::{Checksum, netns_test, receive, send};

use crate::{
    MIB,
    ends::{drop_all, fill, finish, join, read_slowly},
    fixture::{Ends, Fixture, Route, Side},
};

#[test]
fn a_gibibyte_each_way_at_once_arrives_unharmed() {
    let bytes = 1024 * MIB;
    netns_test("bulk", |t| {
        let fixture = Fixture::new(t)?;
        let Ends { caller, target } = fixture.connect(Route::Stolen)?;
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
        drop_all(&fixture)?;
        for direction in ["to_target", "from_target"] {
            let counted =
                fixture.daemon.metric("interceptor_bytes_total", &[("direction", direction)]);
            assert_eq!(counted, bytes as f64, "{direction}");
        }
        Ok(())
    });
}

#[rstest]
#[case::the_target(Side::Client)]
#[case::the_caller(Side::Target)]
fn a_reader_that_never_reads_holds_its_sender_back(#[case] side: Side) {
    netns_test("deaf", |t| {
        let fixture = Fixture::new(t)?;
        let before = fixture.memory()?;
        let (sends, _deaf) = fixture.connect(Route::Stolen)?.of(side);
        let taken = fill(&sends)?;
        let grown = fixture.memory()?.saturating_sub(before);
        assert!(
            grown < 3 * 1024,
            "the daemon grew by {grown} KiB for the {taken} bytes that it took"
        );
        Ok(())
    });
}

#[rstest]
#[case::the_target(Side::Client)]
#[case::the_caller(Side::Target)]
fn a_slow_reader_gets_everything(#[case] side: Side) {
    netns_test("slow", |t| {
        let fixture = Fixture::new(t)?;
        let memory = fixture.memory()?;
        let (sends, reads) = fixture.connect(Route::Stolen)?.of(side);
        let sender = thread::spawn(move || {
            // More than all buffers on the way hold, so that the relay is held back too.
            let sent = send(&sends, 48 * MIB)?;
            finish(&sends).map(|()| sent)
        });
        let mut sum = Checksum::default();
        read_slowly(&reads, &mut sum)?;
        assert_eq!(sum, join(sender)?);
        let grown = fixture.memory()?.saturating_sub(memory);
        assert!(grown < 3 * 1024, "the daemon grew by {grown} KiB");
        Ok(())
    });
}
