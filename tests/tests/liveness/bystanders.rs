//! Connections to the app: it finds out by its own keepalive that a client has vanished, or lives
//! with its return.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv6Addr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use interceptor_tests::{Fixture, SECOND, run};
use rstest::rstest;
use socket2::{SockRef, TcpKeepalive};

use crate::{connect, rule_for_others, say};

/// An app with keepalive on the connections that it accepts. It echoes, and ends with the error of
/// its first connection.
struct App {
    ends: JoinHandle<io::Result<Instant>>,
}

impl App {
    fn start(f: &Fixture<'_>, port: u16, keepalive: Option<TcpKeepalive>) -> Result<Self> {
        let listener = f.pod.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))?;
        let serve = move || {
            let (mut stream, _) = listener.accept()?;
            if let Some(keepalive) = &keepalive {
                SockRef::from(&stream).set_tcp_keepalive(keepalive)?;
            }
            let mut buffer = [0; 4096];
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Ok(Instant::now()),
                    n => stream.write_all(&buffer[..n])?,
                }
            }
        };
        Ok(Self { ends: thread::spawn(serve) })
    }

    /// Waits for the error with which the connection ends.
    fn error(self, within: Duration) -> Result<(io::Error, Duration)> {
        let started = Instant::now();
        while !self.ends.is_finished() {
            ensure!(started.elapsed() < within, "the app was not told within {within:?}");
            thread::sleep(Duration::from_millis(20));
        }
        match self.ends.join().expect("no panic") {
            Ok(_) => bail!("the connection ended in order"),
            Err(error) => Ok((error, started.elapsed())),
        }
    }
}

fn keepalive(after: u64, every: u64, probes: u32) -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(after))
        .with_interval(Duration::from_secs(every))
        .with_retries(probes)
}

/// Says a line, and reads it back.
fn echo(mut stream: &TcpStream, line: &str) -> Result<()> {
    say(stream, line)?;
    let mut answer = vec![0; line.len()];
    stream.read_exact(&mut answer).context("no echo")?;
    ensure!(answer == line.as_bytes(), "{answer:?}");
    Ok(())
}

#[test]
fn an_app_is_told_of_a_client_that_has_vanished_as_it_is_directly() {
    run(|f| {
        let _daemon = f.daemon_with(&rule_for_others(&f, 81), &[])?;
        // Port 81 is redirected and port 82 is not.
        let mut told = Vec::new();
        for port in [81, 82] {
            let app = App::start(&f, port, Some(keepalive(1, 1, 3)))?;
            let client = connect(&f.client, (f.pod.ip4(), port))?;
            echo(&client, "hello, this is no HTTP\n")?;
            // Until the relay has learnt the app's keepalive.
            thread::sleep(2 * SECOND);
            f.client.fall_asleep()?;
            told.push(app.error(12 * SECOND)?);
            f.client.wake_up()?;
        }
        let [(by_relay, after), (directly, _)] = &told[..] else { bail!("{told:?}") };
        assert_eq!(by_relay.kind(), directly.kind(), "{told:?}");
        assert_eq!(by_relay.kind(), io::ErrorKind::TimedOut);
        ensure!(*after > 3 * SECOND, "sooner than directly: {after:?}");
        Ok(())
    });
}

/// The app's kernel would ask for a minute before it gives up. Directly, the client lives.
#[rstest]
#[case::no_keepalive(None)]
#[case::frequent_and_patient(Some(keepalive(1, 1, 100)))]
#[case::seldom(Some(keepalive(4, 60, 3)))]
fn a_cable_that_is_out_for_a_while_ends_no_idle_connection(
    #[case] keepalive: Option<TcpKeepalive>,
) {
    cable_out(keepalive, 9 * SECOND);
}

#[rstest]
#[case::no_keepalive(None)]
#[case::as_go_has_it(Some(keepalive(15, 15, 9)))]
#[case::seldom(Some(keepalive(5, 60, 3)))]
#[case::default_times(Some(TcpKeepalive::new()))]
#[ignore = "more than a minute"]
fn a_cable_that_is_out_for_a_minute_ends_no_idle_connection(
    #[case] keepalive: Option<TcpKeepalive>,
) {
    cable_out(keepalive, 60 * SECOND);
}

fn cable_out(keepalive: Option<TcpKeepalive>, duration: Duration) {
    run(|f| {
        let _daemon = f.daemon_with(&rule_for_others(&f, 81), &[])?;
        let app = App::start(&f, 81, keepalive)?;
        let client = connect(&f.client, (f.pod.ip4(), 81))?;
        echo(&client, "hello, this is no HTTP\n")?;
        thread::sleep(2 * SECOND);
        f.client.fall_asleep()?;
        thread::sleep(duration);
        f.client.wake_up()?;
        let back = Instant::now();
        echo(&client, "again\n")?;
        ensure!(back.elapsed() < 8 * SECOND, "an answer after {:?}", back.elapsed());
        echo(&client, "and again\n")?;
        ensure!(!app.ends.is_finished());
        Ok(())
    });
}
