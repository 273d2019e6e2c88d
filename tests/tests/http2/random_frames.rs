//! Random frames from a client or from an app: no other client notices, and nothing is left behind.

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
use interceptor_tests::block_on;
use testbed::{Daemon, wait_until};

use crate::{
    TIMEOUT, check_no_panic,
    fixture::run,
    raw::{PREFACE, frame},
    server::Server,
};

/// The number of connections with random frames.
const CONNECTIONS: usize = 300;
const ACTIVE: &str = "interceptor_active_connections";
/// Maximum time that such a connection waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

#[test]
fn other_clients_are_served_while_clients_send_random_frames() {
    run("h2-random_frames", |f| {
        let (_app, _target, daemon) = (f.app()?, f.target()?, f.daemon()?);
        let mut random = Random::new();
        block_on(async {
            // The first connection takes memory that is needed once.
            let mut bystander = f.connect().await?;
            bystander.get("/name", false).await?;
            let before = daemon.rss_kib()?;
            for n in 0..CONNECTIONS {
                let mut bytes = PREFACE.to_vec();
                bytes.extend(SETTINGS);
                random.append(&mut bytes, &requests());
                let mut stream = f.tcp()?;
                stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
                let _ = stream.write_all(&bytes);
                let _ = stream.shutdown(Shutdown::Write);
                if random.below(2) == 0 {
                    let _ = stream.read(&mut [0; 1000]);
                }
                if n % 10 == 0 {
                    let started = Instant::now();
                    let is_debug = random.below(2) == 0;
                    let response = bystander.get("/name", is_debug).await?;
                    assert_eq!(response.text, if is_debug { "laptop" } else { "app" });
                    ensure!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
                }
            }
            let grown = daemon.rss_kib()?.saturating_sub(before);
            ensure!(grown < 64 << 10, "{grown} KiB");
            ensure!(daemon.metric(ACTIVE, &[]) >= 1.0, "the bystander's connection is not counted");
            Ok(())
        })
        .with_context(|| random.describe())?;
        check_all_ended(&daemon).with_context(|| random.describe())
    });
}

#[test]
fn the_daemon_survives_an_app_that_sends_random_frames() {
    run("h2-random_frames-app", |f| {
        let daemon = f.daemon()?;
        let listener = f.hosts.pod.run(|| TcpListener::bind(("0.0.0.0", 8080)))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let random = Random::new();
        let app = thread::spawn({
            let (is_over, mut random) = (Arc::clone(&is_over), Random(random.0));
            move || {
                while let Ok((mut stream, _)) = listener.accept() {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let mut bytes = SETTINGS.to_vec();
                    bytes.extend(ACK);
                    random.append(&mut bytes, &responses());
                    let _ = stream.set_read_timeout(Some(ANSWER_TIMEOUT));
                    let _ = stream.read(&mut [0; 1000]);
                    let _ = stream.write_all(&bytes);
                    if random.below(2) == 0 {
                        let _ = stream.read(&mut [0; 1000]);
                    }
                }
            }
        });
        let _target = Server::start(&f.hosts.laptop, 3000, "laptop")?;
        let result = (0..CONNECTIONS).try_for_each(|_| -> Result<()> {
            let mut stream = f.tcp()?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            let mut bytes = PREFACE.to_vec();
            bytes.extend([&SETTINGS[..], &ACK, &requests()[0], &requests()[1]].concat());
            stream.write_all(&bytes)?;
            // Data, the end, or a timeout: all are possible.
            let _ = stream.read(&mut [0; 1000]);
            Ok(())
        });
        is_over.store(true, Ordering::Relaxed);
        let to = (f.hosts.pod.ip4(), 8080);
        drop(f.hosts.pod.run(|| TcpStream::connect(to)));
        app.join().expect("no panic");
        result.and_then(|()| check_all_ended(&daemon)).with_context(|| random.describe())
    });
}

/// Waits until all connections have ended, and fails if a task has panicked.
fn check_all_ended(daemon: &Daemon) -> Result<()> {
    wait_until("the end of all connections", TIMEOUT, || {
        let active = daemon.metric(ACTIVE, &[]);
        if active == 0.0 { Ok(()) } else { Err(format!("{active} connections")) }
    })?;
    check_no_panic(daemon)
}

// --- frames ------------------------------------------------------------------------------------

const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const ACK: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];

/// Frames of clients, for the streams 1, 3 and 5.
pub(crate) fn requests() -> Vec<Vec<u8>> {
    let post = b"\x83\x86\x04\x05/echo\x01\x03web";
    let debug = b"\x83\x86\x04\x05/echo\x01\x03web\0\x06x-user\x05debug";
    let mut all = vec![frame(1, 4, 1, post), frame(1, 4, 3, debug), frame(1, 5, 5, debug)];
    all.extend(frames_of_both());
    all
}

/// Frames of apps.
pub(crate) fn responses() -> Vec<Vec<u8>> {
    let mut all = vec![
        frame(1, 4, 1, b"\x88"),
        frame(1, 4, 1, b"\x48\x03103"),
        frame(1, 5, 1, b"\0\x03end\x011"),
        frame(5, 4, 1, b"\0\0\0\x02\x82\x86\x84\x01\x03web"),
    ];
    all.extend(frames_of_both());
    all
}

/// Frames of clients and apps.
fn frames_of_both() -> Vec<Vec<u8>> {
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

/// A random number generator (xorshift64). A failed test prints its state.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        Self(now.as_nanos() as u64 | 1)
    }

    /// Begins with a state that a failed test has printed.
    pub(crate) fn from_state(state: u64) -> Self {
        Self(state.max(1))
    }

    /// A number for a generator of its own.
    pub(crate) fn next(&mut self) -> u64 {
        self.below(2);
        self.0
    }

    pub(crate) fn describe(&self) -> String {
        format!("the random state was {:#x}", self.0)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    /// Appends frames in any order, one in eight with a wrong byte.
    pub(crate) fn append(&mut self, bytes: &mut Vec<u8>, frames: &[Vec<u8>]) {
        // In three of four cases, the first frame opens a stream for the others.
        if self.below(4) > 0 {
            bytes.extend(&frames[0]);
        }
        for _ in 0..self.below(20) {
            let mut frame = frames[self.below(frames.len())].clone();
            if self.below(8) == 0 {
                let at = self.below(frame.len());
                frame[at] = self.below(256) as u8;
            }
            bytes.extend(frame);
        }
    }
}
