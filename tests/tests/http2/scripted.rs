//! Exchanges of single frames between a client, an app and a target that the test plays itself.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rstest::rstest;
use testbed::{Daemon, wait_until};

use crate::{
    TIMEOUT,
    fixture::{Fixture, run},
    raw::{ACK, DATA, END_HEADERS, END_STREAM, HEADERS, OK, PREFACE, SETTINGS, frame},
};

/// Time for frames to pass on their way.
pub(crate) const PASSING: Duration = Duration::from_millis(200);
/// The client hears nothing for that long when it has got everything.
const SILENCE: Duration = Duration::from_secs(1);

/// A client and an app that have exchanged SETTINGS.
pub(crate) struct Parties {
    pub(crate) client: TcpStream,
    pub(crate) app: TcpStream,
    pub(crate) target: TcpListener,
    pub(crate) daemon: Daemon,
}

impl Parties {
    /// `settings` is the payload of the client's SETTINGS.
    pub(crate) fn new(f: &Fixture<'_>, settings: &[u8]) -> Result<Self> {
        Self::with_silent_app(f, settings, Duration::ZERO)
    }

    /// The same with a pause of the client within its preface.
    fn with_pause(f: &Fixture<'_>, cut: usize) -> Result<Self> {
        Self::start(f, &[], cut, Duration::ZERO)
    }

    /// The same with an app that stands still for that long after it was started.
    pub(crate) fn with_silent_app(
        f: &Fixture<'_>,
        settings: &[u8],
        silence: Duration,
    ) -> Result<Self> {
        Self::start(f, settings, 0, silence)
    }

    /// The client pauses behind its first `cut` bytes.
    fn start(f: &Fixture<'_>, settings: &[u8], cut: usize, silence: Duration) -> Result<Self> {
        let daemon = f.daemon()?;
        let app = f.hosts.pod.run(|| TcpListener::bind(("0.0.0.0", 8080)))?;
        let target = f.hosts.laptop.run(|| TcpListener::bind(("0.0.0.0", 3000)))?;
        target.set_nonblocking(true)?;
        let mut client = f.tcp()?;
        let opening = [PREFACE, &frame(SETTINGS, 0, 0, settings)].concat();
        if cut > 0 {
            client.write_all(&opening[..cut])?;
            thread::sleep(PASSING);
        }
        client.write_all(&opening[cut..])?;
        // The kernel has accepted for the app.
        thread::sleep(silence);
        let (mut app, _) = app.accept()?;
        app.set_read_timeout(Some(TIMEOUT))?;
        app.read_exact(&mut vec![0; opening.len()])?;
        app.write_all(&[frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])].concat())?;
        // A client acknowledges what has arrived.
        client.set_read_timeout(Some(TIMEOUT))?;
        client.read_exact(&mut [0; 18])?;
        client.write_all(&frame(SETTINGS, ACK, 0, &[]))?;
        app.read_exact(&mut [0; 9])?;
        thread::sleep(PASSING);
        Ok(Self { client, app, target, daemon })
    }

    /// Sends a request that the rule takes, and returns the target's connection.
    pub(crate) fn divert(&mut self, stream: u32) -> Result<TcpStream> {
        self.divert_with(stream, &[])
    }

    /// The same for a target with these settings.
    pub(crate) fn divert_with(&mut self, stream: u32, settings: &[u8]) -> Result<TcpStream> {
        self.client.write_all(&matching(stream))?;
        self.accept(settings)
    }

    /// Waits for the connection to the target, which has these settings.
    pub(crate) fn accept(&mut self, settings: &[u8]) -> Result<TcpStream> {
        let accept = || self.target.accept().map_err(anyhow::Error::from);
        let (mut target, _) = wait_until("a connection to the target", TIMEOUT, accept)?;
        target.set_nonblocking(false)?;
        let settings = frame(SETTINGS, 0, 0, settings);
        target.write_all(&[settings, frame(SETTINGS, ACK, 0, &[])].concat())?;
        thread::sleep(PASSING);
        Ok(target)
    }

    /// Everything that the client gets until nothing comes any more.
    pub(crate) fn receive(&mut self) -> Result<Vec<u8>> {
        receive(&mut self.client)
    }
}

/// Everything that arrives until nothing comes any more.
pub(crate) fn receive(stream: &mut TcpStream) -> Result<Vec<u8>> {
    stream.set_read_timeout(Some(SILENCE))?;
    let (mut received, mut part) = (Vec::new(), [0; 65536]);
    while let Ok(n @ 1..) = stream.read(&mut part) {
        received.extend(&part[..n]);
    }
    Ok(received)
}

/// A request that no rule takes.
pub(crate) fn other(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x82\x86\x84\x01\x03web")
}

/// A request that the rule takes.
pub(crate) fn matching(stream: u32) -> Vec<u8> {
    let head = b"\x82\x86\x84\x01\x03web\x00\x06x-user\x05debug";
    frame(HEADERS, END_HEADERS | END_STREAM, stream, head)
}

/// The kinds and streams of frames, with the payload of each.
pub(crate) fn frames(mut received: &[u8]) -> Vec<(u8, u32, &[u8])> {
    let mut frames = Vec::new();
    while let Some(([a, b, c, kind, _, stream @ ..], rest)) = received.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((payload, behind)) = rest.split_at_checked(length) else { break };
        frames.push((*kind, u32::from_be_bytes(*stream), payload));
        received = behind;
    }
    frames
}

/// A response with this much content, in frames of 10,000 bytes.
pub(crate) fn response(stream: u32, content: usize) -> Vec<u8> {
    let mut frames = frame(HEADERS, END_HEADERS, stream, &[OK]);
    for _ in 0..content / 10_000 {
        frames.extend(frame(DATA, 0, stream, &[b'T'; 10_000]));
    }
    frames
}

/// The content of a stream, in bytes, if there is no padding.
pub(crate) fn content(received: &[u8], wanted: u32) -> usize {
    let of_stream = |frame: &&(u8, u32, &[u8])| (frame.0, frame.1) == (DATA, wanted);
    frames(received).iter().filter(of_stream).map(|frame| frame.2.len()).sum()
}

/// Clients give their window back when half of it, or more, is used.
/// The app gets the beginning after 100 ms. Streams are decided all the same.
#[rstest]
fn a_client_may_pause_within_its_preface(#[values(1, 5, 23)] cut: usize) {
    run("h2-pause", |f| {
        let mut parties = Parties::with_pause(&f, cut)?;
        let _target = parties.divert(1)?;
        let rule = &parties.daemon.workload("web")?["rules"][0];
        assert_eq!(rule["decisions"]["undecided"], 1, "{rule}");
        Ok(())
    });
}

#[test]
fn a_target_may_use_more_than_half_of_the_clients_window() {
    run("h2-share", |f| {
        let mut parties = Parties::new(&f, &[])?;
        let mut target = parties.divert(1)?;
        target.write_all(&response(1, 60_000))?;
        let got = content(&parties.receive()?, 1);
        // Seven eighths of 65,535, which no WINDOW_UPDATE has widened.
        ensure!((50_000..65_535).contains(&got), "{got} bytes");
        Ok(())
    });
}

#[test]
fn the_first_diverted_stream_has_the_window_of_the_clients_settings() {
    run("h2-initial", |f| {
        // INITIAL_WINDOW_SIZE of 32,768 bytes.
        let mut parties = Parties::new(&f, &[0, 4, 0, 0, 0x80, 0])?;
        let mut target = parties.divert(1)?;
        target.write_all(&response(1, 20_000))?;
        assert_eq!(content(&parties.receive()?, 1), 20_000);
        Ok(())
    });
}

#[test]
fn nothing_of_a_target_gets_into_a_frame_of_an_app_that_ends() {
    run("h2-inside", |f| {
        let mut parties = Parties::new(&f, &[])?;
        let mut target = parties.divert(1)?;
        parties.client.write_all(&other(3))?;
        thread::sleep(PASSING);
        let mut part = frame(HEADERS, END_HEADERS, 3, &[OK]);
        part.extend(&frame(DATA, 0, 3, &[b'A'; 1000])[..109]);
        parties.app.write_all(&part)?;
        thread::sleep(PASSING);
        parties.app.shutdown(Shutdown::Write)?;
        thread::sleep(PASSING);
        // The daemon may have closed the connection.
        let _ = target.write_all(&response(1, 10_000));
        let received = parties.receive()?;
        let at = received.windows(2).position(|pair| pair == b"AA").context("no content")?;
        assert_eq!(received[at..], [b'A'; 100]);
        Ok(())
    });
}

/// Each byte stands for the whole entry of the table.
#[test]
fn a_header_block_that_grows_when_it_is_decoded_takes_no_more_than_the_limit() {
    run("h2-grows", |f| {
        let mut parties = Parties::new(&f, &[])?;
        let before = parties.daemon.rss_kib()?;
        let mut block = b"\x82\x86\x84\x40\x01x\x7f\xa1\x1e".to_vec();
        block.extend([b'v'; 4000]);
        block.extend([0xbe; 100_000]);
        let frame = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
        parties.client.write_all(&frame)?;
        // It passes, since the app may take it.
        let mut received = vec![0; frame.len()];
        parties.app.read_exact(&mut received)?;
        assert_eq!(received, frame);
        let grown = parties.daemon.rss_kib()?.saturating_sub(before);
        ensure!(grown < 16 << 10, "{grown} KiB");
        Ok(())
    });
}
