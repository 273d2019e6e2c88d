//! Frames by chance, from a caller and from an application: nobody else notices, and nothing is left behind.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use testbed::{Daemon, wait_until};

use crate::{
    TIMEOUT,
    fixture::{calling, run},
    no_panic,
    server::Server,
};

/// Connections that talk so.
const CONNECTIONS: usize = 300;
const ACTIVE: &str = "interceptor_active_connections";
/// How long each of them may take to be answered, or ended.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

#[test]
fn callers_who_talk_nonsense_harm_nobody() {
    run("h2-garbage", |f| {
        let (_app, _target, daemon) = (f.app()?, f.target()?, f.daemon()?);
        let mut dice = Dice::new();
        calling(async {
            // What the daemon needs once.
            let mut bystander = f.call().await?;
            bystander.get("/who", false).await?;
            let before = daemon.rss_kib()?;
            for n in 0..CONNECTIONS {
                let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
                said.extend(SETTINGS);
                dice.talk(&mut said, &requests());
                let mut stream = f.tcp()?;
                stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
                let _ = stream.write_all(&said);
                let _ = stream.shutdown(Shutdown::Write);
                if dice.below(2) == 0 {
                    let _ = stream.read(&mut [0; 1000]);
                }
                if n % 10 == 0 {
                    let started = Instant::now();
                    let is_debug = dice.below(2) == 0;
                    let answer = bystander.get("/who", is_debug).await?;
                    assert_eq!(answer.text, if is_debug { "laptop" } else { "app" });
                    ensure!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
                }
            }
            let grown = daemon.rss_kib()?.saturating_sub(before);
            ensure!(grown < 64 << 10, "{grown} KiB");
            ensure!(daemon.metric(ACTIVE, &[]) >= 1.0, "the bystander's is not counted");
            Ok(())
        })
        .with_context(|| dice.told())?;
        are_over(&daemon).with_context(|| dice.told())
    });
}

#[test]
fn an_app_that_talks_nonsense_harms_its_own_callers_only() {
    run("h2-garbage-app", |f| {
        let daemon = f.daemon()?;
        let listener = f.pod.run(|| TcpListener::bind(("0.0.0.0", 8080)))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let dice = Dice::new();
        let app = thread::spawn({
            let (is_over, mut dice) = (Arc::clone(&is_over), Dice(dice.0));
            move || {
                while let Ok((mut stream, _)) = listener.accept() {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let mut said = SETTINGS.to_vec();
                    said.extend(ACK);
                    dice.talk(&mut said, &responses());
                    let _ = stream.set_read_timeout(Some(ANSWER_TIMEOUT));
                    let _ = stream.read(&mut [0; 1000]);
                    let _ = stream.write_all(&said);
                    if dice.below(2) == 0 {
                        let _ = stream.read(&mut [0; 1000]);
                    }
                }
            }
        });
        let _target = Server::start(&f.laptop, 3000, "laptop")?;
        let met = (0..CONNECTIONS).try_for_each(|_| -> Result<()> {
            let mut stream = f.tcp()?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            said.extend([&SETTINGS[..], &ACK, &requests()[0], &requests()[1]].concat());
            stream.write_all(&said)?;
            // Something, or an end; or nothing, if the nonsense was that.
            let _ = stream.read(&mut [0; 1000]);
            Ok(())
        });
        is_over.store(true, Ordering::Relaxed);
        let to = (f.pod.ip4(), 8080);
        drop(f.pod.run(|| TcpStream::connect(to)));
        app.join().expect("no panic");
        met.and_then(|()| are_over(&daemon)).with_context(|| dice.told())
    });
}

/// All connections have ended but those that are still in use, and no task has panicked.
fn are_over(daemon: &Daemon) -> Result<()> {
    wait_until("the end of all connections", TIMEOUT, || {
        let active = daemon.metric(ACTIVE, &[]);
        if active == 0.0 { Ok(()) } else { Err(format!("{active} are open")) }
    })?;
    no_panic(daemon)
}

// --- frames ---------------------------------------------------------------------------------------------------------

const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const ACK: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::to_be_bytes(payload.len() as u32)[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// What callers say; of streams, 1 and 3.
fn requests() -> Vec<Vec<u8>> {
    let post = b"\x83\x86\x04\x05/echo\x01\x03web";
    let debug = b"\x83\x86\x04\x05/echo\x01\x03web\0\x06x-user\x05debug";
    let mut all = vec![frame(1, 4, 1, post), frame(1, 4, 3, debug), frame(1, 5, 5, debug)];
    all.extend(both());
    all
}

/// What applications say.
fn responses() -> Vec<Vec<u8>> {
    let mut all = vec![
        frame(1, 4, 1, b"\x88"),
        frame(1, 4, 1, b"\x48\x03103"),
        frame(1, 5, 1, b"\0\x03end\x011"),
        frame(5, 4, 1, b"\0\0\0\x02\x82\x86\x84\x01\x03web"),
    ];
    all.extend(both());
    all
}

fn both() -> Vec<Vec<u8>> {
    let mut all = vec![ACK.to_vec(), SETTINGS.to_vec()];
    for stream in [0, 1, 3] {
        all.push(frame(0, 0, stream, b"content"));
        all.push(frame(0, 1, stream, b"the end"));
        all.push(frame(0, 8, stream, b"\x03pad\0\0\0"));
        all.push(frame(2, 0, stream, b"\0\0\0\x01\x10"));
        all.push(frame(3, 0, stream, b"\0\0\0\x08"));
        all.push(frame(8, 0, stream, b"\0\x01\0\0"));
        all.push(frame(8, 0, stream, b"\x7f\xff\xff\xff"));
    }
    all.push(frame(4, 0, 0, b"\0\x04\0\0\0\0\0\x01\0\0\0\0"));
    all.push(frame(4, 0, 0, b"\0\x04\x7f\xff\xff\xff\0\x03\0\0\0\x01"));
    all.push(frame(6, 0, 0, b"12345678"));
    all.push(frame(7, 0, 0, b"\0\0\0\x01\0\0\0\0"));
    all.push(frame(9, 4, 1, b"\0\x01a\x01b"));
    all.push(frame(0xfa, 0xff, 1, b"unknown"));
    all
}

/// Chance (xorshift64), which is told when a test fails.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        Self(now.as_nanos() as u64 | 1)
    }

    fn told(&self) -> String {
        format!("the dice were at {:#x}", self.0)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    /// Frames in any order, one in eight of them with a byte that is wrong.
    fn talk(&mut self, said: &mut Vec<u8>, frames: &[Vec<u8>]) {
        // Mostly there is a stream that the rest can be about.
        if self.below(4) > 0 {
            said.extend(&frames[0]);
        }
        for _ in 0..self.below(20) {
            let mut frame = frames[self.below(frames.len())].clone();
            if self.below(8) == 0 {
                let at = self.below(frame.len());
                frame[at] = self.below(256) as u8;
            }
            said.extend(frame);
        }
    }
}
