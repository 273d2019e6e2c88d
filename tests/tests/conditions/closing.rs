//! The client or the app closes its connection, or half of it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
};

use interceptor_tests::{HttpClient, TIMEOUT};
use parking_lot::Mutex;
use rstest::rstest;
use testbed::{TcpService, wait_until};

use crate::{DEBUG, WHEN, run_http};

/// To a caller who is told so, what he has said behind it was not heard, and he says it again on another connection.
#[test]
fn nobody_answers_what_waits_behind_the_apps_last_response() {
    run_http(|f| {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let _app = TcpService::start(&f.base.pod, (std::net::Ipv6Addr::UNSPECIFIED, 81), {
            let heard = Arc::clone(&heard);
            move |mut stream, _| {
                let mut buffer = [0; 4096];
                while let n @ 1.. = stream.read(&mut buffer)? {
                    let mut heard = heard.lock();
                    if heard.is_empty() {
                        stream.write_all(
                            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
                        )?;
                    }
                    heard.extend_from_slice(&buffer[..n]);
                }
                Ok(())
            }
        })?;
        let _daemon =
            f.base.daemon_with(&format!("81 -> {}:4000 {WHEN}", f.base.laptop.ip4()), &[])?;
        let mut caller = HttpClient::connect(&f.base.client, (f.base.pod.ip4(), 81))?;
        let said = format!(
            "GET / HTTP/1.1\r\nHost: web\r\n\r\nPOST / HTTP/1.1\r\nHost: web\r\n{DEBUG}\r\nContent-Length: 0\r\n\r\n"
        );
        caller.say(&said)?;
        assert_eq!(caller.answer(false)?.body, b"hi");
        // As without us.
        wait_until("the app to have all of it", TIMEOUT, || *heard.lock() == said.as_bytes())?;
        caller.finish()?;
        assert_eq!(caller.rest()?, b"");
        assert_eq!(f.target.service().connections(), 0);
        Ok(())
    });
}

#[test]
fn an_app_that_ends_an_idle_connection_ends_it_for_the_caller() {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut caller = f.caller()?;
        assert_eq!(caller.get("/", &[DEBUG])?.tag, "laptop");
        assert_eq!(caller.get("/", &[])?.tag, "app");
        f.app.service().close_connections();
        assert_eq!(caller.rest()?, b"");
        Ok(())
    });
}

#[test]
fn an_app_that_gives_up_while_the_laptop_is_asked_is_called_again() {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut caller = f.caller()?;
        assert_eq!(caller.get("/", &[])?.tag, "app");
        assert_eq!(caller.get("/", &[DEBUG])?.tag, "laptop");
        // To the caller the connection was not idle.
        f.app.service().close_connections();
        wait_until("its connections to end", TIMEOUT, || f.app.service().open() == 0)?;
        assert_eq!(caller.get("/", &[DEBUG])?.tag, "laptop");
        assert_eq!(caller.get("/", &[])?.tag, "app");
        assert_eq!(f.app.service().connections(), 2);
        Ok(())
    });
}

#[test]
fn what_an_app_says_as_it_gives_up_answers_no_later_request() {
    run_http(|f| {
        let gives_up = Arc::new(Barrier::new(2));
        let app = TcpService::start(&f.base.pod, (std::net::Ipv6Addr::UNSPECIFIED, 81), {
            let (gives_up, first) = (Arc::clone(&gives_up), AtomicBool::new(true));
            move |mut stream, _| {
                let is_first = first.swap(false, Ordering::Relaxed);
                let mut lines = BufReader::new(stream.try_clone()?).lines();
                while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\nX-Served-By: app\r\nContent-Length: 2\r\n\r\nhi",
                )?;
                if is_first {
                    gives_up.wait();
                    stream
                        .write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")?;
                } else {
                    lines.next();
                }
                Ok(())
            }
        })?;
        let _daemon =
            f.base.daemon_with(&format!("81 -> {}:4000 {WHEN}", f.base.laptop.ip4()), &[])?;
        let mut caller = HttpClient::connect(&f.base.client, (f.base.pod.ip4(), 81))?;
        assert_eq!(caller.get("/", &[])?.tag, "app");
        assert_eq!(caller.get("/", &[DEBUG])?.tag, "laptop");
        gives_up.wait();
        wait_until("the app to give up", TIMEOUT, || app.open() == 0)?;
        for by in ["laptop", "laptop", "app", "laptop"] {
            let headers: &[&str] = if by == "laptop" { &[DEBUG] } else { &[] };
            let answer = caller.get("/", headers)?;
            assert_eq!((answer.status, &*answer.tag), (200, by));
        }
        Ok(())
    });
}

#[rstest]
fn a_caller_who_gives_up_is_gone_for_the_server_too(
    #[values("app", "laptop")] by: &str,
    #[values("", "Connection: close\r\n", "Connection: upgrade\r\nUpgrade: echo\r\n")] last: &str,
) {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut caller = f.caller()?;
        let header = if by == "app" { "a: b" } else { DEBUG };
        caller.say(format!("GET /silence HTTP/1.1\r\nHost: web\r\n{last}{header}\r\n\r\n"))?;
        let server = if by == "app" { &f.app } else { &f.target };
        wait_until("the request to arrive", TIMEOUT, || server.service().requests() == 1)?;
        drop(caller);
        wait_until("the server to see the end", TIMEOUT, || server.service().open() == 0)
    });
}

#[rstest]
fn a_caller_who_is_done_speaking_still_gets_his_answer(#[values("app", "laptop")] by: &str) {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut caller = f.caller()?;
        let header = if by == "app" { "a: b" } else { DEBUG };
        caller.say(format!("GET / HTTP/1.1\r\nHost: web\r\n{header}\r\n\r\n"))?;
        caller.finish()?;
        assert_eq!(caller.answer(false)?.tag, by);
        assert_eq!(caller.rest()?, b"");
        wait_until("the servers to see the end", TIMEOUT, || {
            f.app.service().open() + f.target.service().open() == 0
        })
    });
}

#[rstest]
fn a_target_that_ends_after_its_answer_ends_nothing_else(
    #[values(false, true)] is_done_speaking: bool,
) {
    run_http(|f| {
        // Without a word of that in its answer.
        let _target = TcpService::start(
            &f.base.laptop,
            (f.base.laptop.ip4(), 4001),
            |mut stream, traffic| {
                let mut lines = BufReader::new(stream.try_clone()?).lines();
                while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
                traffic.count_request();
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\nX-Served-By: laptop\r\nContent-Length: 2\r\n\r\nhi",
                )
            },
        )?;
        let _daemon =
            f.base.daemon_with(&format!("80 -> {}:4001 {WHEN}", f.base.laptop.ip4()), &[])?;
        let mut caller = f.caller()?;
        let request = |header: &str| format!("GET / HTTP/1.1\r\nHost: web\r\n{header}\r\n\r\n");
        caller.say([DEBUG, "a: b", "a: b"].map(request).concat())?;
        if is_done_speaking {
            caller.finish()?;
        }
        for by in ["laptop", "app", "app"] {
            assert_eq!(caller.answer(false)?.tag, by);
        }
        if !is_done_speaking {
            caller.finish()?;
        }
        assert_eq!(caller.rest()?, b"");
        Ok(())
    });
}

#[test]
fn a_caller_who_is_done_speaking_gets_the_answers_of_both() {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut caller = f.caller()?;
        let request = |header: &str| format!("GET / HTTP/1.1\r\nHost: web\r\n{header}\r\n\r\n");
        // The laptop's server ends when it is told that there is no more to come, which is before the third.
        caller.say([DEBUG, "a: b", DEBUG, "a: b"].map(request).concat())?;
        caller.finish()?;
        for by in ["laptop", "app", "laptop", "app"] {
            assert_eq!(caller.answer(false)?.tag, by);
        }
        assert_eq!(caller.rest()?, b"");
        Ok(())
    });
}
