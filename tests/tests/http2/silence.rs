//! Targets that are silent while they have streams: a host that is gone, and a program that stands
//! still.

use std::{
    io::{Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    fixture::run,
    raw::{END_HEADERS, HEADERS, OK, RST_STREAM, frame},
    scripted::{PASSING, Parties, content, frames, other, response},
};

/// INTERNAL_ERROR, as a payload of RST_STREAM.
const INTERNAL_ERROR: &[u8] = &[0, 0, 0, 2];

#[test]
fn the_streams_of_a_target_whose_host_is_gone_are_reset() {
    run("h2-host-gone", |f| {
        let mut parties = Parties::new(&f, &[])?;
        let _target = parties.divert(1)?;
        parties.client.write_all(&other(3))?;
        f.hosts.laptop.fall_asleep()?;
        let started = Instant::now();
        parties.client.set_read_timeout(Some(Duration::from_secs(60)))?;
        let reset = frame(RST_STREAM, 0, 1, INTERNAL_ERROR);
        let mut received = vec![0; reset.len()];
        parties.client.read_exact(&mut received)?;
        assert_eq!(received, reset);
        let seconds = started.elapsed().as_secs();
        ensure!((29..50).contains(&seconds), "after {seconds} s");
        // The app's stream goes on.
        parties.app.write_all(&response(3, 10_000))?;
        assert_eq!(content(&parties.receive()?, 3), 10_000);
        Ok(())
    });
}

/// As at a breakpoint: the kernel answers for the program.
#[test]
fn the_streams_of_a_target_that_stands_still_wait_for_it() {
    run("h2-breakpoint", |f| {
        let mut parties = Parties::new(&f, &[])?;
        let mut target = parties.divert(1)?;
        check_silence(&mut parties, Duration::from_secs(45))?;
        target.write_all(&frame(HEADERS, END_HEADERS, 1, &[OK]))?;
        thread::sleep(PASSING);
        let received = parties.receive()?;
        assert_eq!(frames(&received).iter().map(|frame| frame.0).collect::<Vec<_>>(), [HEADERS]);
        Ok(())
    });
}

/// Fails if the client gets anything in this time.
fn check_silence(parties: &mut Parties, time: Duration) -> Result<()> {
    parties.client.set_read_timeout(Some(time))?;
    let read = parties.client.read(&mut [0; 100]);
    ensure!(read.is_err(), "the client got {read:?}");
    Ok(())
}
