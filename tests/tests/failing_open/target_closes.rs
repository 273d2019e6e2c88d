//! The target accepts a connection and closes it before its first byte: something on the way has
//! accepted in its place.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use interceptor_tests::{Fixture, TIMEOUT, counted, outcomes, run};
use rstest::rstest;
use socket2::SockRef;
use testbed::TcpService;

/// A target that closes a connection `after` some time without reading from it.
fn closing(f: &Fixture<'_>, after: Duration, by_reset: bool) -> anyhow::Result<TcpService> {
    TcpService::start(&f.laptop, (f.laptop.ip4(), 3001), move |stream, _| {
        thread::sleep(after);
        if by_reset {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        }
        Ok(())
    })
}

fn connect(f: &Fixture<'_>) -> anyhow::Result<TcpStream> {
    let to = f.port();
    let stream = f.client.run(|| TcpStream::connect(to))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn ask(mut stream: TcpStream) -> std::io::Result<String> {
    stream.write_all(b"hello\n")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[rstest]
fn the_app_gets_a_connection_of_which_nothing_was_sent_on(
    #[values(0, 500)] after: u64,
    #[values(false, true)] by_reset: bool,
    #[values("", " with proxy-v2")] option: &str,
) {
    run(|f| {
        let target = closing(&f, Duration::from_millis(after), by_reset)?;
        let daemon = f.daemon_with(&format!("8080 -> {}{option}", target.addr()), &[])?;
        let stream = connect(&f)?;
        thread::sleep(Duration::from_millis(after + 100));
        assert!(ask(stream)?.starts_with("app "));
        assert_eq!(outcomes(&daemon, "web")?, counted([("fell_back/target_closed", 1)]));
        Ok(())
    });
}

#[test]
fn a_connection_of_which_bytes_were_sent_on_ends_as_the_target_ends_it() {
    run(|f| {
        let target = closing(&f, Duration::from_millis(500), false)?;
        let daemon = f.daemon_with(&format!("8080 -> {}", target.addr()), &[])?;
        let answer = ask(connect(&f)?);
        assert!(answer.as_ref().is_ok_and(String::is_empty) || answer.is_err(), "{answer:?}");
        assert_eq!(f.app.connections(), 0);
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 1)]));
        Ok(())
    });
}

#[test]
fn a_target_that_closes_after_the_first_second_ends_the_connection() {
    run(|f| {
        let target = closing(&f, Duration::from_millis(1300), false)?;
        let daemon = f.daemon_with(&format!("8080 -> {}", target.addr()), &[])?;
        let mut stream = connect(&f)?;
        assert_eq!(stream.read(&mut [0])?, 0);
        assert_eq!(f.app.connections(), 0);
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 1)]));
        Ok(())
    });
}

/// Without an app, the client sees what the target did.
#[rstest]
fn a_target_that_closes_is_the_end_if_the_app_refuses(#[values(false, true)] by_reset: bool) {
    run(|f| {
        // Not at once: a reset before the relay looks is one that no byte can follow.
        let target = closing(&f, Duration::from_millis(100), by_reset)?;
        let daemon = f.daemon_with(&format!("8080 -> {}", target.addr()), &[])?;
        let port = f.port();
        let Fixture { client, app, .. } = f;
        drop(app);
        let mut stream = client.run(|| TcpStream::connect(port))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let end = stream.read(&mut [0]).map_err(|error| error.kind());
        let expected = if by_reset { Err(std::io::ErrorKind::ConnectionReset) } else { Ok(0) };
        assert_eq!(end, expected);
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 1)]));
        Ok(())
    });
}
