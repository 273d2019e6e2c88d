//! Connections to targets: a silent side is dead after 30 s, and one that pauses is not.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv6Addr, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use interceptor_tests::{SECOND, TIMEOUT, run};
use testbed::{TcpService, wait_until};

use crate::{DEAD_AFTER, LATE, connect, say, silent};

/// Reads up to the end, and returns how long that took and whether it was a reset.
fn end_of(mut stream: &TcpStream) -> (Duration, bool) {
    let started = Instant::now();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(1..) => {}
            end => return (started.elapsed(), end.is_err()),
        }
    }
}

#[test]
fn a_laptop_that_has_vanished_is_found_out() {
    run(|f| {
        let daemon = f.daemon()?;
        let idle = connect(&f.client, f.port())?;
        say(&idle, "who\n")?;
        ensure!((&idle).read(&mut [0; 4096])? > 0);
        let busy = connect(&f.client, f.port())?;
        say(&busy, "who\n")?;
        ensure!((&busy).read(&mut [0; 4096])? > 0);
        f.laptop.fall_asleep()?;
        let vanished = Instant::now();
        // Unanswered data for one, and unanswered probes for the other.
        say(&busy, "who\n")?;
        let (idle_ends, busy_ends) = thread::scope(|scope| {
            let idle = scope.spawn(|| end_of(&idle));
            (idle.join().expect("no panic"), end_of(&busy))
        });
        let took = vanished.elapsed();
        ensure!(idle_ends.1 && busy_ends.1, "not by a reset");
        ensure!(took >= DEAD_AFTER && took < DEAD_AFTER + LATE, "after {took:?}");
        assert_eq!(silent(&daemon, "server"), 2.0);
        let workload = daemon.workload("web")?;
        assert_eq!(workload["rules"][0]["silent"]["server"], 2, "{workload}");
        Ok(())
    });
}

#[test]
fn a_client_that_has_vanished_is_found_out_for_the_target() {
    run(|f| {
        let (ended, ends) = mpsc::channel();
        let _target =
            TcpService::start(&f.laptop, (Ipv6Addr::UNSPECIFIED, 3001), move |stream, _| {
                stream.set_read_timeout(Some(DEAD_AFTER + LATE))?;
                let _ = ended.send(end_of(&stream));
                Ok(())
            })?;
        let daemon = f.daemon_with(&format!("8080 -> {}:3001", f.laptop.ip4()), &[])?;
        let client = connect(&f.client, f.port())?;
        say(&client, "hello\n")?;
        wait_until("the connection", TIMEOUT, || silent(&daemon, "caller") == 0.0)?;
        thread::sleep(SECOND);
        f.client.fall_asleep()?;
        let (took, is_reset) = ends.recv_timeout(DEAD_AFTER + LATE).context("no end")?;
        ensure!(is_reset && took >= DEAD_AFTER, "{is_reset}, after {took:?}");
        assert_eq!(silent(&daemon, "caller"), 1.0);
        Ok(())
    });
}

#[test]
fn a_reader_that_pauses_lives() {
    paused(Duration::from_secs(12));
}

#[test]
#[ignore = "more than a minute"]
fn a_reader_that_pauses_for_90_seconds_lives() {
    paused(Duration::from_secs(90));
}

/// Longer than a side may be silent, if that is more than [`DEAD_AFTER`].
fn paused(pause: Duration) {
    const BYTES: usize = 32 << 20;
    run(|f| {
        let _target =
            TcpService::start(&f.laptop, (Ipv6Addr::UNSPECIFIED, 3001), |mut stream, _| {
                stream.write_all(&vec![7; BYTES])
            })?;
        let daemon = f.daemon_with(&format!("8080 -> {}:3001", f.laptop.ip4()), &[])?;
        let mut client = connect(&f.client, f.port())?;
        thread::sleep(pause);
        let mut got = Vec::new();
        client.read_to_end(&mut got)?;
        assert_eq!(got.len(), BYTES);
        assert_eq!(silent(&daemon, "caller") + silent(&daemon, "server"), 0.0);
        Ok(())
    });
}
