//! Bytes that cannot be framed as HTTP/1: they reach the app unchanged, without delay.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use anyhow::ensure;
use interceptor_tests::{TIMEOUT, outcomes, run, sum};
use rstest::rstest;
use testbed::{TcpService, wait_until};

use crate::{DEBUG, WHEN, greeting, piped, run_http};

#[test]
fn a_target_whose_response_can_not_be_framed_holds_nobody_up() {
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
        let rule = format!("80 -> {}:4001 {WHEN}", f.base.laptop.ip4());
        let daemon = f.base.daemon_with(&rule, &[])?;
        let mut caller = f.caller()?;
        caller.say(format!("GET / HTTP/1.1\r\nHost: web\r\n{DEBUG}\r\n\r\n"))?;
        assert_eq!(caller.raw(37)?, b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi");
        // The caller has understood it, and goes on: his connection ends, rather than wait for ever.
        caller.say("GET / HTTP/1.1\r\nHost: web\r\n\r\n")?;
        let rest = caller.rest()?;
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        assert_eq!(piped(&daemon, "line_end")?, 1);
        Ok(())
    });
}

#[test]
fn a_caller_who_says_nothing_but_empty_lines_is_the_apps() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut caller = f.caller()?;
        let said = "\r\n".repeat(2_000);
        caller.say(&said)?;
        wait_until("the app to have all of it", TIMEOUT, || f.app.got() == said.as_bytes())?;
        assert_eq!(piped(&daemon, "head_too_long")?, 1);
        Ok(())
    });
}

#[test]
fn a_rule_for_all_behind_a_condition_has_what_can_not_match_it() {
    run_http(|f| {
        let bob = TcpService::greets_first(&f.base.laptop, (f.base.laptop.ip4(), 4001), "bob")?;
        let rule = format!("{}; 80 -> {}:4001", f.rule(WHEN), f.base.laptop.ip4());
        let daemon = f.base.daemon_with(&rule, &[])?;
        let mut caller = f.caller()?;
        // Not HTTP.
        caller.say("*1\r\n$4\r\nPING\r\n")?;
        assert_eq!(caller.raw(4)?, b"bob ");
        assert_eq!(bob.connections(), 1);
        // Both rules stand in one annotation, whose counters they share.
        assert_eq!(sum(&outcomes(&daemon, "web")?, "redirected"), 1);
        Ok(())
    });
}

#[rstest]
#[case::both_lengths(
    "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length_and_encoding"
)]
#[case::not_http("\x10\x20MQTT or so\r\n", "not_http")]
#[case::http_0_9("GET /\r\n", "http_0_9")]
#[case::bare_lf("GET / HTTP/1.1\nHost: web\n\n", "line_end")]
#[case::version("GET / HTTP/3.0\r\n\r\n", "version")]
fn what_can_not_be_framed_reaches_the_app_as_it_is(#[case] said: &str, #[case] reason: &str) {
    run_http(|f| {
        let daemon = f.daemon()?;
        // Behind it stands something that would match, were it a request.
        let said = format!("{said}GET / HTTP/1.1\r\nHost: web\r\n{DEBUG}\r\n\r\n");
        let mut caller = f.caller()?;
        caller.say(&said)?;
        wait_until("the app to have all of it", TIMEOUT, || {
            ensure!(f.app.got() == said.as_bytes(), "{:?}", String::from_utf8_lossy(&f.app.got()));
            Ok(())
        })?;
        assert_eq!(f.target.service().connections(), 0);
        assert_eq!(piped(&daemon, reason)?, 1, "{}", daemon.workload("web")?);

        // The same behind requests that can be framed, the last of which is the laptop's.
        let mut caller = f.caller()?;
        assert_eq!(caller.get("/", &[])?.tag, "app");
        assert_eq!(caller.get("/", &[DEBUG])?.tag, "laptop");
        let (before, laptop) = (f.app.got().len(), f.target.got());
        caller.say(&said)?;
        wait_until("the app to have all of it again", TIMEOUT, || {
            ensure!(f.app.got()[before..] == *said.as_bytes());
            Ok(())
        })?;
        assert_eq!(f.target.got(), laptop, "and the laptop nothing");
        Ok(())
    });
}

#[test]
fn a_server_that_speaks_first_is_not_waited_for() {
    run(|f| {
        let _app = TcpService::greets_first(&f.pod, (std::net::Ipv6Addr::UNSPECIFIED, 80), "app")?;
        let rule = format!("80 -> {}:3000 {WHEN}", f.laptop.ip4());
        let daemon = f.daemon_with(&rule, &[])?;
        let started = Instant::now();
        assert_eq!(greeting(&f, 80)?, "app");
        assert!(started.elapsed() < Duration::from_millis(300), "{:?}", started.elapsed());
        assert_eq!(piped(&daemon, "server_spoke")?, 1);
        Ok(())
    });
}
