//! Frames of the app that wait for the client's window, since a target has used it.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    thread,
};

use anyhow::{Result, ensure};
use rstest::rstest;

use crate::{
    fixture::{Fixture, run},
    raw::{DATA, END_HEADERS, GOAWAY, HEADERS, OK, RST_STREAM, WINDOW_UPDATE, frame},
    scripted::{PASSING, Parties, content, frames, other, response},
};

const PADDED: u8 = 8;
/// The app's content, in bytes: more than the target leaves of the client's window.
const CONTENT: usize = 15_000;

/// The target has used most of the client's window with stream 1. Then the app responds on stream
/// 3.
fn hold(f: &Fixture<'_>, frames_of_app: &[u8]) -> Result<(Parties, TcpStream, Vec<u8>)> {
    let mut parties = Parties::new(f, &[])?;
    let mut target = parties.divert(1)?;
    target.write_all(&response(1, 60_000))?;
    thread::sleep(PASSING);
    let request = other(3);
    parties.client.write_all(&request)?;
    // What a block to the app has in front of it depends on the stream that was diverted.
    parties.app.read_exact(&mut [0; 9])?;
    parties.app.write_all(&frame(HEADERS, END_HEADERS, 3, &[OK]))?;
    parties.app.write_all(frames_of_app)?;
    let received = parties.receive()?;
    let used = content(&received, 1);
    ensure!((50_000..60_000).contains(&used), "the target has used {used} bytes");
    Ok((parties, target, received))
}

/// The client takes this much more, on the connection and on stream 3.
fn widen(client: &mut TcpStream, bytes: u32) -> Result<()> {
    let bytes = bytes.to_be_bytes();
    let updates = [frame(WINDOW_UPDATE, 0, 0, &bytes), frame(WINDOW_UPDATE, 0, 3, &bytes)];
    Ok(client.write_all(&updates.concat())?)
}

#[rstest]
#[case::plain(0, frame(DATA, 0, 3, &[b'A'; CONTENT]))]
#[case::padded(101, frame(DATA, PADDED, 3, &padded()))]
fn a_frame_larger_than_the_clients_window_passes_in_parts(
    #[case] padding: usize,
    #[case] data: Vec<u8>,
) {
    run("h2-held", |f| {
        let (mut parties, _target, received) = hold(&f, &data)?;
        let first = content(&received, 3);
        ensure!((5_000..15_000).contains(&first), "{first} bytes of the app");
        widen(&mut parties.client, 60_000)?;
        let rest = parties.receive()?;
        assert_eq!(first + content(&rest, 3), CONTENT + padding);
        let contents = [&received[..], &rest].map(|received| {
            let data = frames(received).into_iter().filter(|frame| (frame.0, frame.1) == (DATA, 3));
            data.flat_map(|frame| frame.2).filter(|byte| **byte == b'A').count()
        });
        assert_eq!(contents.iter().sum::<usize>(), CONTENT);
        Ok(())
    });
}

/// A payload with 100 bytes of padding.
fn padded() -> Vec<u8> {
    [&[100][..], &[b'A'; CONTENT], &[0; 100]].concat()
}

#[test]
fn the_reset_of_a_stream_follows_what_its_app_sent_before_it_died() {
    run("h2-held-dies", |f| {
        let (mut parties, _target, received) = hold(&f, &frame(DATA, 0, 3, &[b'A'; CONTENT]))?;
        let first = content(&received, 3);
        parties.app.shutdown(Shutdown::Write)?;
        thread::sleep(PASSING);
        widen(&mut parties.client, 60_000)?;
        let rest = parties.receive()?;
        let of_app: Vec<_> = frames(&rest).into_iter().filter(|frame| frame.1 != 1).collect();
        assert_eq!(first + content(&rest, 3), CONTENT);
        let last = of_app.iter().rposition(|frame| frame.0 == DATA);
        let reset = of_app.iter().position(|frame| (frame.0, frame.1) == (RST_STREAM, 3));
        ensure!(last.is_some() && last < reset, "{last:?}, then {reset:?}");
        ensure!(of_app.iter().any(|frame| frame.0 == GOAWAY), "no GOAWAY");
        Ok(())
    });
}
