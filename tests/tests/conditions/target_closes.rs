//! A target that accepts a connection, and closes it before its first byte: something on the way
//! has accepted in its place.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Duration,
};

use interceptor_tests::{DEBUG_HEADER, RequestHead, counted, outcomes};
use rstest::rstest;
use socket2::SockRef;
use testbed::{TcpService, wait_until};

use crate::{HttpFixture, OTHER_HEADER, decided, get, run_http};

/// How such a target closes.
#[derive(Clone, Copy, Debug)]
enum Closes {
    /// FIN, without reading.
    AtOnce,
    /// RST, without reading.
    ByReset,
    /// FIN, after it has read the request.
    AfterTheRequest,
    /// RST, half a second later.
    Later,
}

impl Closes {
    fn start(self, f: &HttpFixture<'_>) -> anyhow::Result<TcpService> {
        TcpService::start(&f.base.laptop, (f.base.laptop.ip4(), 4001), move |stream, _| {
            let reset = |stream: &TcpStream| SockRef::from(stream).set_linger(Some(Duration::ZERO));
            match self {
                Self::AtOnce => {}
                Self::ByReset => reset(&stream)?,
                Self::AfterTheRequest => {
                    RequestHead::read(&mut BufReader::new(&stream))?;
                }
                Self::Later => {
                    thread::sleep(Duration::from_millis(500));
                    reset(&stream)?;
                }
            }
            Ok(())
        })
    }
}

/// The request line, further header lines, and the body.
const GET: (&str, &str) = ("GET /x", "");
const PUT: (&str, &str) = ("PUT /x", "content");
const HEAD: (&str, &str) = ("HEAD /x", "");

fn request((line, body): (&str, &str)) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nHost: web\r\n{DEBUG_HEADER}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[rstest]
fn the_app_gets_an_idempotent_request(
    #[values(Closes::AtOnce, Closes::ByReset, Closes::AfterTheRequest, Closes::Later)]
    closes: Closes,
    #[values(GET, PUT, HEAD)] what: (&str, &str),
    #[values(false, true)] app_is_open: bool,
) {
    run_http(|f| {
        let target = closes.start(&f)?;
        let daemon = f.daemon_for(80, 4001)?;
        let mut client = f.connect()?;
        if app_is_open {
            assert_eq!(client.get("/", &[])?.tag, "app");
        }
        let sent = request(what);
        client.send(&sent)?;
        let response = client.response(what == HEAD)?;
        assert_eq!(response.tag, "app");
        if what != HEAD {
            assert_eq!(String::from_utf8(response.body)?, sent, "the app got other bytes");
        }
        // The connection goes on.
        assert_eq!(client.get("/", &[])?.tag, "app");
        assert_eq!((target.connections(), f.app.service().connections()), (1, 1));
        assert_eq!(outcomes(&daemon, "web")?, counted([("fell_back/target_closed", 1)]));
        assert_eq!((decided(&daemon, "fell_back")?, decided(&daemon, "matched")?), (1, 0));
        Ok(())
    });
}

#[test]
fn the_app_gets_all_requests_of_a_pipeline_in_their_order() {
    run_http(|f| {
        let _target = Closes::Later.start(&f)?;
        let _daemon = f.daemon_for(80, 4001)?;
        let mut client = f.connect()?;
        let lines = [DEBUG_HEADER, DEBUG_HEADER, OTHER_HEADER, DEBUG_HEADER];
        let requests: Vec<String> = lines
            .iter()
            .enumerate()
            .map(|(n, line)| get(line).replace("GET /", &format!("GET /{n}")))
            .collect();
        client.send(requests.concat())?;
        for request in requests {
            let response = client.response(false)?;
            assert_eq!((&*response.tag, String::from_utf8(response.body)?), ("app", request));
        }
        Ok(())
    });
}

/// A body that is still arriving when the target closes.
#[test]
fn the_app_gets_the_rest_of_a_body_behind_what_the_target_got() {
    run_http(|f| {
        let _target = Closes::AfterTheRequest.start(&f)?;
        let _daemon = f.daemon_for(80, 4001)?;
        let mut client = f.connect()?;
        let sent = request(("PUT /x", &"content".repeat(1000)));
        let (first, rest) = sent.split_at(200);
        client.send(first)?;
        thread::sleep(Duration::from_millis(100));
        client.send(rest)?;
        let response = client.response(false)?;
        assert_eq!((&*response.tag, String::from_utf8(response.body)?), ("app", sent));
        Ok(())
    });
}

/// A target may have acted on such a request.
#[rstest]
#[case::post(request(("POST /x", "content")))]
#[case::patch(request(("PATCH /x", "content")))]
#[case::too_long(request(("PUT /x", &"content".repeat(10_000))))]
fn another_request_is_not_repeated(#[case] sent: String) {
    run_http(|f| {
        let _target =
            TcpService::start(&f.base.laptop, (f.base.laptop.ip4(), 4001), move |stream, _| {
                let mut request = BufReader::new(&stream);
                let head = RequestHead::read(&mut request)?.unwrap_or_default();
                request.read_exact(&mut vec![0; head.length.unwrap_or(0) as usize])
            })?;
        let daemon = f.daemon_for(80, 4001)?;
        let mut client = f.connect()?;
        client.send(&sent)?;
        assert_eq!(client.read_to_end()?, b"");
        assert_eq!(f.app.service().requests(), 0);
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 1)]));
        Ok(())
    });
}

#[test]
fn a_target_that_is_slow_is_not_away() {
    run_http(|f| {
        let _target = TcpService::start(
            &f.base.laptop,
            (f.base.laptop.ip4(), 4001),
            move |mut stream, _| {
                RequestHead::read(&mut BufReader::new(stream.try_clone()?))?;
                thread::sleep(Duration::from_millis(2500));
                stream.write_all(b"HTTP/1.1 204 No Content\r\nX-Served-By: laptop\r\n\r\n")
            },
        )?;
        let daemon = f.daemon_for(80, 4001)?;
        let mut client = f.connect()?;
        client.send(get(DEBUG_HEADER))?;
        // It counts as reached before its response.
        wait_until("the connection to be counted", Duration::from_millis(1500), || {
            outcomes(&daemon, "web").is_ok_and(|now| now == counted([("redirected", 1)]))
        })?;
        assert_eq!(client.response(false)?.tag, "laptop");
        assert_eq!(f.app.service().requests(), 0);
        Ok(())
    });
}

/// After the first second, its end is the end that the client sees.
#[test]
fn a_target_that_closes_later_ends_the_clients_connection() {
    run_http(|f| {
        let _target =
            TcpService::start(&f.base.laptop, (f.base.laptop.ip4(), 4001), move |stream, _| {
                RequestHead::read(&mut BufReader::new(&stream))?;
                thread::sleep(Duration::from_millis(1300));
                Ok(())
            })?;
        let _daemon = f.daemon_for(80, 4001)?;
        let mut client = f.connect()?;
        client.send(get(DEBUG_HEADER))?;
        assert_eq!(client.read_to_end()?, b"");
        assert_eq!(f.app.service().requests(), 0);
        Ok(())
    });
}
