//! The client or the app closes its connection, or half of it.

use std::{
    io::{BufReader, Read as _, Write as _},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
};

use interceptor_tests::{DEBUG_HEADER, RequestHead, TIMEOUT};
use parking_lot::Mutex;
use rstest::rstest;
use testbed::{TcpService, wait_until};

use crate::{OTHER_HEADER, get, header_for, run_http};

/// The response tells the client that the server has not processed later requests, so the client
/// may send them again on another connection.
#[test]
fn requests_pipelined_behind_the_apps_last_response_get_no_answer() {
    run_http(|f| {
        let received = Arc::new(Mutex::new(Vec::new()));
        let _app = TcpService::start(&f.base.pod, (std::net::Ipv6Addr::UNSPECIFIED, 81), {
            let received = Arc::clone(&received);
            move |mut stream, _| {
                let mut buffer = [0; 4096];
                while let n @ 1.. = stream.read(&mut buffer)? {
                    let mut received = received.lock();
                    if received.is_empty() {
                        stream.write_all(
                            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
                        )?;
                    }
                    received.extend_from_slice(&buffer[..n]);
                }
                Ok(())
            }
        })?;
        let _daemon = f.daemon_for(81, 4000)?;
        let mut client = f.connect_to(81)?;
        let requests = format!(
            "GET / HTTP/1.1\r\nHost: web\r\n\r\n\
             POST / HTTP/1.1\r\nHost: web\r\n{DEBUG_HEADER}\r\nContent-Length: 0\r\n\r\n"
        );
        client.send(&requests)?;
        assert_eq!(client.response(false)?.body, b"hi");
        // The app gets all requests, as it does without the relay.
        wait_until("the app to get both requests", TIMEOUT, || {
            *received.lock() == requests.as_bytes()
        })?;
        client.finish()?;
        assert_eq!(client.read_to_end()?, b"");
        assert_eq!(f.target.service().connections(), 0);
        Ok(())
    });
}

#[test]
fn an_idle_connection_that_the_app_closes_is_closed_for_the_client() {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut client = f.connect()?;
        assert_eq!(client.get("/", &[DEBUG_HEADER])?.tag, "laptop");
        assert_eq!(client.get("/", &[])?.tag, "app");
        f.app.service().close_connections();
        assert_eq!(client.read_to_end()?, b"");
        Ok(())
    });
}

#[test]
fn the_app_is_dialled_again_if_it_closes_while_the_target_serves() {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut client = f.connect()?;
        assert_eq!(client.get("/", &[])?.tag, "app");
        assert_eq!(client.get("/", &[DEBUG_HEADER])?.tag, "laptop");
        // For the client, the connection was not idle.
        f.app.service().close_connections();
        wait_until("the app's connections to end", TIMEOUT, || f.app.service().open() == 0)?;
        assert_eq!(client.get("/", &[DEBUG_HEADER])?.tag, "laptop");
        assert_eq!(client.get("/", &[])?.tag, "app");
        assert_eq!(f.app.service().connections(), 2);
        Ok(())
    });
}

#[test]
fn a_timeout_response_of_the_app_is_not_used_for_a_later_request() {
    run_http(|f| {
        let times_out = Arc::new(Barrier::new(2));
        let app = TcpService::start(&f.base.pod, (std::net::Ipv6Addr::UNSPECIFIED, 81), {
            let (times_out, first) = (Arc::clone(&times_out), AtomicBool::new(true));
            move |mut stream, _| {
                let is_first = first.swap(false, Ordering::Relaxed);
                let mut requests = BufReader::new(stream.try_clone()?);
                RequestHead::read(&mut requests)?;
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\nX-Served-By: app\r\nContent-Length: 2\r\n\r\nhi",
                )?;
                if is_first {
                    times_out.wait();
                    stream
                        .write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")?;
                } else {
                    RequestHead::read(&mut requests)?;
                }
                Ok(())
            }
        })?;
        let _daemon = f.daemon_for(81, 4000)?;
        let mut client = f.connect_to(81)?;
        assert_eq!(client.get("/", &[])?.tag, "app");
        assert_eq!(client.get("/", &[DEBUG_HEADER])?.tag, "laptop");
        times_out.wait();
        wait_until("the app to close", TIMEOUT, || app.open() == 0)?;
        for by in ["laptop", "laptop", "app", "laptop"] {
            let headers: &[&str] = if by == "laptop" { &[DEBUG_HEADER] } else { &[] };
            let response = client.get("/", headers)?;
            assert_eq!((response.status, &*response.tag), (200, by));
        }
        Ok(())
    });
}

#[rstest]
fn a_client_that_closes_during_its_request_closes_the_servers_connection(
    #[values("app", "laptop")] by: &str,
    #[values("", "Connection: close\r\n", "Connection: upgrade\r\nUpgrade: echo\r\n")] last: &str,
) {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut client = f.connect()?;
        let header = header_for(by);
        client.send(format!("GET /silence HTTP/1.1\r\nHost: web\r\n{last}{header}\r\n\r\n"))?;
        let server = if by == "app" { &f.app } else { &f.target };
        wait_until("the request to arrive", TIMEOUT, || server.service().requests() == 1)?;
        drop(client);
        wait_until("the server's connection to end", TIMEOUT, || server.service().open() == 0)
    });
}

#[rstest]
fn a_client_that_closes_its_half_still_gets_the_response(#[values("app", "laptop")] by: &str) {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut client = f.connect()?;
        let header = header_for(by);
        client.send(get(header))?;
        client.finish()?;
        assert_eq!(client.response(false)?.tag, by);
        assert_eq!(client.read_to_end()?, b"");
        wait_until("the servers' connections to end", TIMEOUT, || {
            f.app.service().open() + f.target.service().open() == 0
        })
    });
}

#[rstest]
fn a_target_that_closes_after_its_response_ends_no_other_request(
    #[values(false, true)] closes_first: bool,
) {
    run_http(|f| {
        // The response has no `Connection: close`.
        let _target = TcpService::start(
            &f.base.laptop,
            (f.base.laptop.ip4(), 4001),
            |mut stream, traffic| {
                let mut requests = BufReader::new(stream.try_clone()?);
                RequestHead::read(&mut requests)?;
                traffic.count_request();
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\nX-Served-By: laptop\r\nContent-Length: 2\r\n\r\nhi",
                )
            },
        )?;
        let _daemon = f.daemon_for(80, 4001)?;
        let mut client = f.connect()?;
        client.send([DEBUG_HEADER, OTHER_HEADER, OTHER_HEADER].map(get).concat())?;
        if closes_first {
            client.finish()?;
        }
        for by in ["laptop", "app", "app"] {
            assert_eq!(client.response(false)?.tag, by);
        }
        if !closes_first {
            client.finish()?;
        }
        assert_eq!(client.read_to_end()?, b"");
        Ok(())
    });
}

#[test]
fn a_client_that_closes_its_half_gets_the_responses_of_both_servers() {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut client = f.connect()?;
        // The target closes when the client's half is closed, which is before the third request.
        client.send([DEBUG_HEADER, OTHER_HEADER, DEBUG_HEADER, OTHER_HEADER].map(get).concat())?;
        client.finish()?;
        for by in ["laptop", "app", "laptop", "app"] {
            assert_eq!(client.response(false)?.tag, by);
        }
        assert_eq!(client.read_to_end()?, b"");
        Ok(())
    });
}
