//! The target refuses, dies, freezes or closes its connection.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

use interceptor_tests::{SOON, counted, outcomes};
use testbed::{TcpService, wait_until};

use crate::{DEBUG, WHEN, decided, stage};

#[test]
fn a_target_that_refuses_leaves_the_request_to_the_app() {
    stage(|mut stage| {
        let daemon = stage.daemon()?;
        stage.dev.stop_listening();
        let mut caller = stage.caller()?;
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
    stage(|stage| {
        let _daemon = stage.daemon()?;
        let mut caller = stage.caller()?;
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
    stage(|stage| {
        let _daemon = stage.daemon()?;
        let mut caller = stage.caller()?;
        // The laptop's server goes away while the connection is idle.
        assert_eq!(caller.get("/", &[DEBUG])?.tag, "laptop");
        assert_eq!(caller.get("/", &[])?.tag, "app");
        stage.dev.service().hang_up();
        wait_until("its connections to end", SOON, || stage.dev.service().open() == 0)?;
        assert_eq!(caller.get("/", &[DEBUG])?.tag, "laptop");
        assert_eq!(stage.dev.service().connections(), 2);
        Ok(())
    });
}

#[test]
fn a_frozen_target_delays_nobody_else() {
    stage(|stage| {
        let _daemon = stage.daemon()?;
        let mut stuck = stage.caller()?;
        stuck.say(format!("GET /silence HTTP/1.1\r\nHost: web\r\n{DEBUG}\r\n\r\n"))?;
        wait_until("the laptop to have it", SOON, || stage.dev.service().requests() == 1)?;
        let mut caller = stage.caller()?;
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
    stage(|stage| {
        let heard = Arc::new(Barrier::new(2));
        let _dev = TcpService::start(&stage.s.laptop, (stage.s.laptop.ip4(), 4001), {
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
            stage.s.daemon_with(&format!("80 -> {}:4001 {WHEN}", stage.s.laptop.ip4()), &[])?;
        let mut caller = stage.caller()?;
        // The application's could be served next, if the laptop's had an end.
        let request = |header: &str| format!("GET / HTTP/1.1\r\nHost: web\r\n{header}\r\n\r\n");
        caller.say([DEBUG, "a: b"].map(request).concat())?;
        assert_eq!(caller.raw(26)?, b"HTTP/1.1 200 OK\r\n\r\nfirst, ");
        heard.wait();
        assert_eq!(String::from_utf8(caller.rest()?)?, "second");
        Ok(())
    });
}
