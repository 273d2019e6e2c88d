//! The target refuses, dies, freezes or closes its connection.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

use interceptor_tests::{TIMEOUT, counted, outcomes};
use testbed::{TcpService, wait_until};

use crate::{DEBUG, WHEN, decided, run_http};

#[test]
fn a_target_that_refuses_leaves_the_request_to_the_app() {
    run_http(|mut f| {
        let daemon = f.daemon()?;
        f.target.stop_listening();
        let mut caller = f.caller()?;
        for _ in 0..3 {
            assert_eq!(caller.get("/", &[DEBUG])?.tag, "app");
            assert_eq!(caller.get("/", &[])?.tag, "app");
        }
        assert_eq!(outcomes(&daemon, "web")?, counted([("fell_back/target_refused", 1)]));
        assert_eq!(decided(&daemon, "fell_back")?, 3);
        Ok(())
    });
}

#[test]
fn a_target_that_dies_in_its_answer_ends_the_callers_connection() {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut caller = f.caller()?;
        assert_eq!(caller.get("/", &[])?.tag, "app");
        caller.say(format!(
            "GET /half HTTP/1.1\r\nHost: web\r\n{DEBUG}\r\n\r\nGET /after HTTP/1.1\r\nHost: web\r\n\r\n"
        ))?;
        let rest = String::from_utf8(caller.rest()?)?;
        assert!(rest.contains("X-Served-By: laptop"), "{rest}");
        assert!(!rest.contains("X-Served-By: app"), "the app's bytes after the laptop's: {rest}");
        Ok(())
    });
}

#[test]
fn a_target_that_closes_after_its_answer_is_called_again() {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut caller = f.caller()?;
        // The laptop's server goes away while the connection is idle.
        assert_eq!(caller.get("/", &[DEBUG])?.tag, "laptop");
        assert_eq!(caller.get("/", &[])?.tag, "app");
        f.target.service().close_connections();
        wait_until("its connections to end", TIMEOUT, || f.target.service().open() == 0)?;
        assert_eq!(caller.get("/", &[DEBUG])?.tag, "laptop");
        assert_eq!(f.target.service().connections(), 2);
        Ok(())
    });
}

#[test]
fn a_frozen_target_delays_nobody_else() {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut stuck = f.caller()?;
        stuck.say(format!("GET /silence HTTP/1.1\r\nHost: web\r\n{DEBUG}\r\n\r\n"))?;
        wait_until("the laptop to have it", TIMEOUT, || f.target.service().requests() == 1)?;
        let mut caller = f.caller()?;
        for _ in 0..20 {
            let started = Instant::now();
            assert_eq!(caller.get("/", &[])?.tag, "app");
            assert!(started.elapsed() < Duration::from_millis(300), "{:?}", started.elapsed());
        }
        Ok(())
    });
}

#[test]
fn a_response_that_ends_with_its_connection_is_not_cut_short_by_what_waits_behind_it() {
    run_http(|f| {
        let heard = Arc::new(Barrier::new(2));
        let _target = TcpService::start(&f.base.laptop, (f.base.laptop.ip4(), 4001), {
            let heard = Arc::clone(&heard);
            move |mut stream, _| {
                let mut lines = BufReader::new(stream.try_clone()?).lines();
                while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nfirst, ")?;
                heard.wait();
                stream.write_all(b"second")
            }
        })?;
        let _daemon =
            f.base.daemon_with(&format!("80 -> {}:4001 {WHEN}", f.base.laptop.ip4()), &[])?;
        let mut caller = f.caller()?;
        // The application's could be served next, if the laptop's had an end.
        let request = |header: &str| format!("GET / HTTP/1.1\r\nHost: web\r\n{header}\r\n\r\n");
        caller.say([DEBUG, "a: b"].map(request).concat())?;
        assert_eq!(caller.raw(26)?, b"HTTP/1.1 200 OK\r\n\r\nfirst, ");
        heard.wait();
        assert_eq!(String::from_utf8(caller.rest()?)?, "second");
        Ok(())
    });
}
