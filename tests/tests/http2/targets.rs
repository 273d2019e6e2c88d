//! What targets ask for by their settings, and what they may not do.

use std::{
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::{
    fixture::run,
    raw::{DATA, END_HEADERS, END_STREAM, HEADERS, OK, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame},
    scripted::{PASSING, Parties, content, frames, matching, other, receive, response},
};

/// FLOW_CONTROL_ERROR, as a payload of RST_STREAM.
const FLOW_CONTROL_ERROR: &[u8] = &[0, 0, 0, 3];

#[test]
fn a_stream_that_a_full_target_does_not_take_reaches_the_app_after_a_short_wait() {
    run("h2-full", |f| {
        let mut parties = Parties::new(&f, &[])?;
        // MAX_CONCURRENT_STREAMS of 1.
        let mut target = parties.divert_with(1, &[0, 3, 0, 0, 0, 1])?;
        let started = Instant::now();
        parties.client.write_all(&matching(3))?;
        let at_app = loop {
            let received = receive(&mut parties.app)?;
            if !received.is_empty() {
                break received;
            }
            ensure!(started.elapsed() < Duration::from_secs(10), "the stream waits for ever");
        };
        let heads: Vec<_> = frames(&at_app)
            .iter()
            .filter(|frame| frame.0 == HEADERS)
            .map(|frame| frame.1)
            .collect();
        assert_eq!(heads, [3]);
        let fell_back = [("decision", "fell_back")];
        assert_eq!(parties.daemon.metric("interceptor_decisions_total", &fell_back), 1.0);
        // The target's own stream goes on, and so do others when it has room.
        let end = frame(DATA, END_STREAM, 1, &[]);
        target.write_all(&[response(1, 10_000), end].concat())?;
        thread::sleep(PASSING);
        assert_eq!(content(&parties.receive()?, 1), 10_000);
        parties.client.write_all(&matching(5))?;
        let at_target = receive(&mut target)?;
        let heads = frames(&at_target[crate::raw::PREFACE.len()..])
            .iter()
            .filter(|frame| frame.0 == HEADERS)
            .count();
        assert_eq!(heads, 2);
        Ok(())
    });
}

#[test]
fn a_stream_that_a_full_target_takes_in_time_does_not_reach_the_app() {
    run("h2-full-short", |f| {
        let mut parties = Parties::new(&f, &[])?;
        let mut target = parties.divert_with(1, &[0, 3, 0, 0, 0, 1])?;
        parties.client.write_all(&matching(3))?;
        thread::sleep(PASSING);
        target.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[OK]))?;
        thread::sleep(Duration::from_millis(1500));
        target.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &[OK]))?;
        let received = parties.receive()?;
        let heads: Vec<_> =
            frames(&received).iter().filter(|frame| frame.0 == HEADERS).map(|f| f.1).collect();
        assert_eq!(heads, [1, 3]);
        ensure!(receive(&mut parties.app)?.is_empty(), "the app got something");
        Ok(())
    });
}

#[test]
fn a_client_whose_windows_the_app_lowers_gets_back_what_the_target_has_taken() {
    run("h2-lowered", |f| {
        let mut parties = Parties::new(&f, &[])?;
        let head = matching(1);
        let head = frame(HEADERS, END_HEADERS, 1, &head[9..]);
        // Less than what is given back at a time.
        let content = frame(DATA, 0, 1, &[b'c'; 12_000]);
        parties.client.write_all(&[head, content].concat())?;
        let mut target = parties.accept(&[])?;
        receive(&mut target)?;
        // INITIAL_WINDOW_SIZE of 10,000 bytes: the client's window is negative.
        parties.app.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0x27, 0x10]))?;
        let received = parties.receive()?;
        let given_back = frames(&received)
            .into_iter()
            .filter(|frame| (frame.0, frame.1) == (WINDOW_UPDATE, 1))
            .map(|frame| frame.2.to_vec())
            .collect::<Vec<_>>();
        assert_eq!(given_back, [12_000_u32.to_be_bytes().to_vec()]);
        Ok(())
    });
}

#[test]
fn a_target_that_overruns_the_window_of_a_stream_loses_that_stream_only() {
    run("h2-overrun", |f| {
        // INITIAL_WINDOW_SIZE of 15,000 bytes.
        let mut parties = Parties::new(&f, &[0, 4, 0, 0, 0x3a, 0x98])?;
        let mut target = parties.divert(1)?;
        parties.client.write_all(&[matching(3), other(5)].concat())?;
        thread::sleep(PASSING);
        target.write_all(&response(1, 20_000))?;
        target.write_all(&response(3, 10_000))?;
        parties.app.write_all(&response(5, 10_000))?;
        let received = parties.receive()?;
        let resets: Vec<_> =
            frames(&received).into_iter().filter(|frame| frame.0 == RST_STREAM).collect();
        assert_eq!(resets, [(RST_STREAM, 1, FLOW_CONTROL_ERROR)]);
        assert_eq!([3, 5].map(|stream| content(&received, stream)), [10_000; 2]);
        let at_target = receive(&mut target)?;
        let at_target = at_target.get(crate::raw::PREFACE.len()..).context("no preface")?;
        ensure!(frames(at_target).contains(&(RST_STREAM, 1, FLOW_CONTROL_ERROR)), "no reset");
        Ok(())
    });
}
