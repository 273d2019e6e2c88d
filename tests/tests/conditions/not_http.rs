//! Bytes that cannot be framed as HTTP/1: they reach the app unchanged, without delay.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use anyhow::ensure;
use interceptor_tests::{DEBUG_HEADER, TIMEOUT, WHEN_DEBUG, outcomes, run, sum};
use rstest::rstest;
use testbed::{TcpService, wait_until};

use crate::{get, greeting, piped, run_http};

#[test]
fn a_response_that_cannot_be_framed_ends_the_connection_at_the_next_request() {
    run_http(|f| {
        let _target = TcpService::start(
            &f.base.laptop,
            (f.base.laptop.ip4(), 4001),
            |mut stream, traffic| {
                stream.read_exact(&mut [0; 10])?;
                stream.write_all(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi")?;
                traffic.wait_for_stop();
                Ok(())
            },
        )?;
        let daemon = f.daemon_for(80, 4001)?;
        let mut client = f.connect()?;
        client.send(get(DEBUG_HEADER))?;
        assert_eq!(client.read_exact(37)?, b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi");
        // The client has understood the response and sends another request: its connection ends
        // instead of waiting for ever.
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")?;
        let rest = client.read_to_end()?;
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        assert_eq!(piped(&daemon, "line_end")?, 1);
        Ok(())
    });
}

#[test]
fn endless_empty_lines_reach_the_app() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut client = f.connect()?;
        let lines = "\r\n".repeat(2_000);
        client.send(&lines)?;
        wait_until("the app to get all lines", TIMEOUT, || f.app.received() == lines.as_bytes())?;
        assert_eq!(piped(&daemon, "head_too_long")?, 1);
        Ok(())
    });
}

#[test]
fn a_later_rule_without_condition_gets_what_is_not_http() {
    run_http(|f| {
        let bob = TcpService::greets_first(&f.base.laptop, (f.base.laptop.ip4(), 4001), "bob")?;
        let rule = format!("{}; 80 -> {}:4001", f.rule(WHEN_DEBUG), f.base.laptop.ip4());
        let daemon = f.base.daemon_with(&rule, &[])?;
        let mut client = f.connect()?;
        // Not HTTP.
        client.send("*1\r\n$4\r\nPING\r\n")?;
        assert_eq!(client.read_exact(4)?, b"bob ");
        assert_eq!(bob.connections(), 1);
        // Both rules are in one annotation, which has one set of counters.
        assert_eq!(sum(&outcomes(&daemon, "web")?, "redirected"), 1);
        Ok(())
    });
}

#[rstest]
#[case::both_lengths(
    "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\
     Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length_and_encoding"
)]
#[case::not_http("\x10\x20MQTT or so\r\n", "not_http")]
#[case::http_0_9("GET /\r\n", "http_0_9")]
#[case::bare_lf("GET / HTTP/1.1\nHost: web\n\n", "line_end")]
#[case::version("GET / HTTP/3.0\r\n\r\n", "version")]
fn bytes_that_cannot_be_framed_reach_the_app_unchanged(#[case] bytes: &str, #[case] reason: &str) {
    run_http(|f| {
        let daemon = f.daemon()?;
        // The bytes behind them look like a request that matches.
        let bytes = format!("{bytes}GET / HTTP/1.1\r\nHost: web\r\n{DEBUG_HEADER}\r\n\r\n");
        let mut client = f.connect()?;
        client.send(&bytes)?;
        wait_until("the app to get all bytes", TIMEOUT, || {
            ensure!(
                f.app.received() == bytes.as_bytes(),
                "{:?}",
                String::from_utf8_lossy(&f.app.received())
            );
            Ok(())
        })?;
        assert_eq!(f.target.service().connections(), 0);
        assert_eq!(piped(&daemon, reason)?, 1, "{}", daemon.workload("web")?);

        // The same bytes behind valid requests, the last of which the target serves.
        let mut client = f.connect()?;
        assert_eq!(client.get("/", &[])?.tag, "app");
        assert_eq!(client.get("/", &[DEBUG_HEADER])?.tag, "laptop");
        let (before, laptop) = (f.app.received().len(), f.target.received());
        client.send(&bytes)?;
        wait_until("the app to get all bytes again", TIMEOUT, || {
            ensure!(f.app.received()[before..] == *bytes.as_bytes());
            Ok(())
        })?;
        assert_eq!(f.target.received(), laptop, "the target got some of the bytes");
        Ok(())
    });
}

#[test]
fn a_server_that_speaks_first_is_heard_at_once() {
    run(|f| {
        let _app = TcpService::greets_first(&f.pod, (std::net::Ipv6Addr::UNSPECIFIED, 80), "app")?;
        let rule = format!("80 -> {}:3000 {WHEN_DEBUG}", f.laptop.ip4());
        let daemon = f.daemon_with(&rule, &[])?;
        let started = Instant::now();
        assert_eq!(greeting(&f, 80)?, "app");
        assert!(started.elapsed() < Duration::from_millis(300), "{:?}", started.elapsed());
        assert_eq!(piped(&daemon, "server_spoke")?, 1);
        Ok(())
    });
}
