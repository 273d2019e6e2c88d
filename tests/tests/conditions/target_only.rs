//! Connections whose first request matches: only the target is dialled until the app is needed.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    time::Duration,
};

use anyhow::Result;
use interceptor_tests::{DEBUG_HEADER, Frozen, HttpClient, TIMEOUT, threads};
use testbed::{Daemon, TcpService, wait_until};

use crate::{HttpFixture, get, run_http};

/// A client that is connected to the target only: its first request matched and had arrived when
/// the relay accepted the connection.
fn client_of_the_target_only(f: &HttpFixture<'_>, daemon: &Daemon) -> Result<HttpClient> {
    let workers = threads(daemon.pid(), "relay-")?;
    // On a busy machine, the stopped workers may look hung. Then the app gets the connection.
    for _ in 0..10 {
        let connections = f.app.service().connections();
        let frozen = Frozen::new(&workers)?;
        let mut client = f.connect()?;
        client.send(get(DEBUG_HEADER))?;
        drop(frozen);
        if client.response(false)?.tag == "laptop" {
            let now = f.app.service().connections();
            assert_eq!(now, connections, "the app was dialled although the request matched");
            return Ok(client);
        }
    }
    anyhow::bail!("the app got ten connections in a row")
}

/// As [`client_of_the_target_only`]. Then runs `act` and waits until the relay has dialled the app.
fn client_that_needs_the_app(
    f: &HttpFixture<'_>,
    daemon: &Daemon,
    act: impl FnOnce(&mut HttpClient) -> Result<()>,
) -> Result<HttpClient> {
    let mut client = client_of_the_target_only(f, daemon)?;
    let connections = f.app.service().connections();
    act(&mut client)?;
    wait_until("a connection to the app", TIMEOUT, || {
        f.app.service().connections() == connections + 1
    })?;
    Ok(client)
}

/// A client whose target has closed its idle connection.
fn client_without_target(f: &HttpFixture<'_>, daemon: &Daemon) -> Result<HttpClient> {
    client_that_needs_the_app(f, daemon, |_| {
        f.target.service().close_connections();
        Ok(())
    })
}

/// A client that has sent half of its second request's head.
fn client_with_half_a_head(f: &HttpFixture<'_>, daemon: &Daemon) -> Result<HttpClient> {
    client_that_needs_the_app(f, daemon, |client| Ok(client.send("GET / HTTP/1.1\r\nHo")?))
}

#[test]
fn the_app_is_dialled_with_the_first_request_that_does_not_match() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut client = client_of_the_target_only(&f, &daemon)?;
        let (calls, targets) = (f.app.service().connections(), f.target.service().connections());
        for _ in 0..3 {
            assert_eq!(client.get("/", &[DEBUG_HEADER])?.tag, "laptop");
        }
        assert_eq!(f.app.service().connections(), calls);
        for turn in 0..10 {
            let headers: &[&str] = if turn % 2 == 1 { &[DEBUG_HEADER] } else { &[] };
            assert_eq!(client.get("/", headers)?.tag, if turn % 2 == 1 { "laptop" } else { "app" });
        }
        assert_eq!(f.app.service().connections(), calls + 1, "the app was not dialled once");
        assert_eq!(f.target.service().connections(), targets, "the target was dialled again");
        Ok(())
    });
}

#[test]
fn the_app_is_dialled_when_the_target_closes_an_idle_connection() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut client = client_without_target(&f, &daemon)?;
        let calls = f.app.service().connections();
        // The client notices nothing.
        assert_eq!(client.get("/", &[DEBUG_HEADER])?.tag, "laptop");
        assert_eq!(client.get("/", &[])?.tag, "app");
        assert_eq!(f.app.service().connections(), calls);
        // The app decides how long the connection may be idle.
        f.app.service().close_connections();
        assert_eq!(client.read_to_end()?, b"");
        Ok(())
    });
}

#[test]
fn the_app_may_close_a_connection_that_the_target_has_left() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut client = client_without_target(&f, &daemon)?;
        f.app.service().close_connections();
        assert_eq!(client.read_to_end()?, b"");
        Ok(())
    });
}

#[test]
fn the_app_decides_how_long_to_wait_for_the_rest_of_a_head() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut client = client_with_half_a_head(&f, &daemon)?;
        client.send(format!("st: web\r\n{DEBUG_HEADER}\r\n\r\n"))?;
        assert_eq!(client.response(false)?.tag, "laptop");

        let mut client = client_with_half_a_head(&f, &daemon)?;
        f.app.service().close_connections();
        assert_eq!(client.read_to_end()?, b"", "the app has closed the connection");
        Ok(())
    });
}

/// The relay buffers the end of a response while the client is slow. The kernel's buffers decide at
/// which size that happens.
#[test]
fn a_client_that_closes_its_half_gets_the_whole_response_of_the_target() {
    run_http(|f| {
        const STEP: usize = 100 << 10;
        let _target =
            TcpService::start(&f.base.laptop, (f.base.laptop.ip4(), 4001), |mut stream, _| {
                let mut lines = BufReader::new(stream.try_clone()?).lines();
                while let Some(line) = lines.next().transpose()? {
                    let size =
                        line.split(' ').nth(1).and_then(|path| path[1..].parse().ok()).unwrap_or(0);
                    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
                    write!(
                        stream,
                        "HTTP/1.1 200 OK\r\nX-Served-By: laptop\r\nContent-Length: {size}\r\n\r\n"
                    )?;
                    stream.write_all(&vec![b'x'; size])?;
                }
                Ok(())
            })?;
        let daemon = f.daemon_for(80, 4001)?;
        for size in (1..80).map(|step| step * STEP) {
            let mut client = client_of_the_target_only(&f, &daemon)?;
            client.send(format!("GET /{size} HTTP/1.1\r\nHost: web\r\n{DEBUG_HEADER}\r\n\r\n"))?;
            // The test waits for nothing here: the pause lets all transfers come to rest.
            std::thread::sleep(Duration::from_millis(15));
            client.finish()?;
            let response = client.response(false)?;
            assert_eq!(response.body.len(), size);
            assert_eq!(client.read_to_end()?, b"");
        }
        Ok(())
    });
}

#[test]
fn the_clients_connection_is_closed_when_the_target_closes_and_the_app_is_down() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut client = client_of_the_target_only(&f, &daemon)?;
        let HttpFixture { base, app, target } = f;
        drop(app);
        target.service().close_connections();
        assert_eq!(client.read_to_end()?, b"");
        drop(base);
        Ok(())
    });
}

#[test]
fn the_target_serves_while_the_app_is_down() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut client = client_of_the_target_only(&f, &daemon)?;
        let HttpFixture { base, app, target } = f;
        drop(app);
        assert_eq!(client.get("/", &[DEBUG_HEADER])?.tag, "laptop");
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")?;
        client.read_to_end().expect_err("no server is left for the request");
        drop((base, target));
        Ok(())
    });
}
