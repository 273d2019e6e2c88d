//! The target refuses, dies, freezes or closes its connection.

use std::{
    io::{BufReader, Write as _},
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

use interceptor_tests::{DEBUG_HEADER, RequestHead, TIMEOUT, counted, outcomes};
use testbed::{TcpService, wait_until};

use crate::{OTHER_HEADER, decided, get, run_http};

#[test]
fn the_app_serves_the_requests_of_a_target_that_refuses() {
    run_http(|mut f| {
        let daemon = f.daemon()?;
        f.target.stop_listening();
        let mut client = f.connect()?;
        for _ in 0..3 {
            assert_eq!(client.get("/", &[DEBUG_HEADER])?.tag, "app");
            assert_eq!(client.get("/", &[])?.tag, "app");
        }
        assert_eq!(outcomes(&daemon, "web")?, counted([("fell_back/target_refused", 1)]));
        assert_eq!(decided(&daemon, "fell_back")?, 3);
        Ok(())
    });
}

#[test]
fn a_target_that_dies_during_its_response_ends_the_clients_connection() {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut client = f.connect()?;
        assert_eq!(client.get("/", &[])?.tag, "app");
        client.send(format!(
            "GET /half HTTP/1.1\r\nHost: web\r\n{DEBUG_HEADER}\r\n\r\n\
             GET /after HTTP/1.1\r\nHost: web\r\n\r\n"
        ))?;
        let rest = String::from_utf8(client.read_to_end()?)?;
        assert!(rest.contains("X-Served-By: laptop"), "{rest}");
        assert!(
            !rest.contains("X-Served-By: app"),
            "bytes of the app follow those of the target: {rest}"
        );
        Ok(())
    });
}

#[test]
fn the_target_is_dialled_again_after_it_has_closed_an_idle_connection() {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut client = f.connect()?;
        assert_eq!(client.get("/", &[DEBUG_HEADER])?.tag, "laptop");
        assert_eq!(client.get("/", &[])?.tag, "app");
        f.target.service().close_connections();
        wait_until("the target's connections to end", TIMEOUT, || f.target.service().open() == 0)?;
        assert_eq!(client.get("/", &[DEBUG_HEADER])?.tag, "laptop");
        assert_eq!(f.target.service().connections(), 2);
        Ok(())
    });
}

#[test]
fn a_frozen_target_delays_no_other_client() {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut stuck = f.connect()?;
        stuck.send(format!("GET /silence HTTP/1.1\r\nHost: web\r\n{DEBUG_HEADER}\r\n\r\n"))?;
        wait_until("the target to get the request", TIMEOUT, || {
            f.target.service().requests() == 1
        })?;
        let mut client = f.connect()?;
        for _ in 0..20 {
            let started = Instant::now();
            assert_eq!(client.get("/", &[])?.tag, "app");
            assert!(started.elapsed() < Duration::from_millis(300), "{:?}", started.elapsed());
        }
        Ok(())
    });
}

#[test]
fn a_pipelined_request_does_not_cut_a_response_that_ends_with_its_connection() {
    run_http(|f| {
        let first_read = Arc::new(Barrier::new(2));
        let _target = TcpService::start(&f.base.laptop, (f.base.laptop.ip4(), 4001), {
            let first_read = Arc::clone(&first_read);
            move |mut stream, _| {
                let mut requests = BufReader::new(stream.try_clone()?);
                RequestHead::read(&mut requests)?;
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nfirst, ")?;
                first_read.wait();
                stream.write_all(b"second")
            }
        })?;
        let _daemon = f.daemon_for(80, 4001)?;
        let mut client = f.connect()?;
        // The app serves the second request, which has to wait for the end of the target's
        // response.
        client.send([DEBUG_HEADER, OTHER_HEADER].map(get).concat())?;
        assert_eq!(client.read_exact(26)?, b"HTTP/1.1 200 OK\r\n\r\nfirst, ");
        first_read.wait();
        assert_eq!(String::from_utf8(client.read_to_end()?)?, "second");
        Ok(())
    });
}
