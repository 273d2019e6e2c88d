//! Requests and responses pass byte for byte, in order, however they are cut.

use anyhow::Result;
use interceptor_tests::{DEBUG_HEADER, HttpClient, HttpEchoServer};
use rstest::rstest;

use crate::{header_for, run_http};

/// Ordinary and less ordinary requests, all of them for one connection.
const REQUESTS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nhOsT: web\r\nX-Odd:   spaces   \r\nx-odd: again\r\nAccept:\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: web\r\nContent-Length: 11\r\n\r\nhello world",
    b"POST /b HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n\
      5;ext=\"a b\"\r\nhello\r\n0006\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"\r\nGET /c HTTP/1.1\r\nHost: web\r\n\r\n",
    b"PUT /d?a=b HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: web\r\n\r\n",
    b"GET http://web/e HTTP/1.1\r\nHost: web\r\n\r\n",
    b"GET /chunked HTTP/1.1\r\nHost: web\r\n\r\n",
    b"GET /refuse HTTP/1.1\r\nHost: web\r\n\r\n",
];

/// Adds [`DEBUG_HEADER`] to a request.
fn with_header(request: &[u8]) -> Vec<u8> {
    let head = request.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    [&request[..head], b"\r\n", DEBUG_HEADER.as_bytes(), &request[head..]].concat()
}

#[rstest]
fn requests_reach_the_app_byte_for_byte(
    #[values(false, true)] pipelined: bool,
    #[values(1, 7, 100_000)] step: usize,
) {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut client = f.connect()?;
        let all = REQUESTS.concat();
        if pipelined {
            for part in all.chunks(step) {
                client.send(part)?;
            }
        }
        for request in REQUESTS {
            if !pipelined {
                for part in request.chunks(step) {
                    client.send(part)?;
                }
            }
            assert_eq!(client.response(false)?.tag, "app");
        }
        assert_eq!(String::from_utf8_lossy(&f.app.received()), String::from_utf8_lossy(&all));
        assert_eq!(f.target.received(), b"");
        Ok(())
    });
}

#[rstest]
fn matching_requests_among_others_reach_the_target_byte_for_byte(
    #[values(false, true)] pipelined: bool,
    #[values(1, 7, 100_000)] step: usize,
) {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut client = f.connect()?;
        let (mut all, mut apps, mut laptops) = (Vec::new(), Vec::new(), Vec::new());
        for (n, request) in REQUESTS.iter().enumerate() {
            // Two in a row for each server.
            if n % 4 < 2 {
                laptops.push(with_header(request));
                all.push(with_header(request));
            } else {
                apps.push(request.to_vec());
                all.push(request.to_vec());
            }
        }
        if pipelined {
            for part in all.concat().chunks(step) {
                client.send(part)?;
            }
        }
        for (n, request) in all.iter().enumerate() {
            if !pipelined {
                for part in request.chunks(step) {
                    client.send(part)?;
                }
            }
            assert_eq!(
                client.response(false)?.tag,
                if n % 4 < 2 { "laptop" } else { "app" },
                "{n}"
            );
        }
        assert_eq!(
            String::from_utf8_lossy(&f.app.received()),
            String::from_utf8_lossy(&apps.concat())
        );
        assert_eq!(
            String::from_utf8_lossy(&f.target.received()),
            String::from_utf8_lossy(&laptops.concat())
        );
        Ok(())
    });
}

#[rstest]
fn responses_reach_the_client_byte_for_byte(#[values("app", "laptop")] by: &str) {
    run_http(|f| {
        let _daemon = f.daemon()?;
        // A second app, on a port that is not redirected.
        let app = HttpEchoServer::start(&f.base.pod, (f.base.pod.ip4(), 81), "app")?;
        let direct =
            if by == "app" { app.service().addr() } else { (f.base.laptop.ip4(), 4000).into() };
        let header = header_for(by);
        for target in ["/", "/chunked", "/interim", "/refuse", "/close", "/until-close", "/half"] {
            let relayed = (f.base.pod.ip4(), 80).into();
            let responses = [relayed, direct].map(|to| -> Result<_> {
                let mut client = HttpClient::connect(&f.base.client, to)?;
                client.send(format!("GET {target} HTTP/1.1\r\nHost: web\r\n{header}\r\n\r\n"))?;
                client.finish()?;
                Ok(String::from_utf8(client.read_to_end()?)?)
            });
            let [relayed, direct] = responses;
            let (relayed, direct) = (relayed?, direct?);
            assert!(direct.contains(&format!("X-Served-By: {by}")), "{direct}");
            assert_eq!(relayed, direct, "{target}");
        }
        Ok(())
    });
}

#[rstest]
fn head_and_interim_responses_arrive_in_order(#[values("app", "laptop")] by: &str) {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut client = f.connect()?;
        let header = header_for(by);
        client.send(format!(
            "HEAD /x HTTP/1.1\r\nHost: web\r\n{header}\r\n\r\n\
             GET /interim HTTP/1.1\r\nHost: web\r\n{header}\r\n\r\n\
             GET /other HTTP/1.1\r\nHost: web\r\n\r\n"
        ))?;
        assert_eq!(client.response(true)?.tag, by);
        assert_eq!(client.response(false)?.status, 103);
        assert_eq!(client.response(false)?.tag, by);
        assert_eq!(client.response(false)?.tag, "app");
        Ok(())
    });
}
