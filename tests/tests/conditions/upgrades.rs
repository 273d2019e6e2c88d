//! Connections that leave HTTP/1 by an upgrade, and upgrades that the server declines.

use std::io::{BufReader, Read as _, Write as _};

use interceptor_tests::{DEBUG_HEADER, RequestHead};
use rstest::rstest;
use testbed::TcpService;

use crate::{OTHER_HEADER, header_for, piped, run_http};

#[rstest]
fn an_upgraded_connection_stays_with_the_server_of_its_request(
    #[values("app", "laptop")] by: &str,
) {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut client = f.connect()?;
        // The first request goes to the other server.
        let (first, header) =
            if by == "app" { (DEBUG_HEADER, OTHER_HEADER) } else { (OTHER_HEADER, DEBUG_HEADER) };
        client.get("/", &[first])?;
        // The bytes behind the upgrade look like a request.
        let trick = format!("GET / HTTP/1.1\r\nHost: web\r\n{first}\r\n\r\n");
        client.send(format!(
            "GET /switch HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: echo\r\n\
             {header}\r\n\r\n{trick}"
        ))?;
        let response = client.response(false)?;
        assert_eq!((response.status, &*response.tag), (101, by));
        assert_eq!(String::from_utf8(client.read_exact(trick.len())?)?, trick);
        client.send("more")?;
        assert_eq!(client.read_exact(4)?, b"more");
        client.finish()?;
        assert_eq!(client.read_to_end()?, b"");
        assert_eq!(piped(&daemon, "tunnel")?, 1);
        Ok(())
    });
}

#[rstest]
fn a_connection_stays_http_when_the_server_declines_an_upgrade(
    #[values("app", "laptop")] by: &str,
) {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut client = f.connect()?;
        let header = header_for(by);
        client.send(format!(
            "GET /no HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: echo\r\n\
             {header}\r\n\r\n\
             GET / HTTP/1.1\r\nHost: web\r\n{DEBUG_HEADER}\r\n\r\n\
             GET / HTTP/1.1\r\nHost: web\r\n\r\n"
        ))?;
        let responses = [client.response(false)?, client.response(false)?, client.response(false)?];
        assert_eq!(responses.map(|response| response.tag), [by, "laptop", "app"]);
        Ok(())
    });
}

#[rstest]
fn a_connection_stays_http_when_an_upgrade_is_declined_before_its_body_ends(
    #[values("app", "laptop")] by: &str,
) {
    run_http(|f| {
        // Responds to each head, and reads the body afterwards.
        let early = |tag: &'static str, netns: &testbed::Namespace, port| {
            let addr = (std::net::Ipv6Addr::UNSPECIFIED, port);
            TcpService::start(netns, addr, move |mut stream, _| {
                let mut requests = BufReader::new(stream.try_clone()?);
                while let Some(head) = RequestHead::read(&mut requests)? {
                    let response = format!(
                        "HTTP/1.1 403 No\r\nX-Served-By: {tag}\r\nContent-Length: 0\r\n\r\n"
                    );
                    stream.write_all(response.as_bytes())?;
                    requests.read_exact(&mut vec![0; head.length.unwrap_or(0) as usize])?;
                }
                Ok(())
            })
        };
        let _app = early("app", &f.base.pod, 81)?;
        let _target = early("laptop", &f.base.laptop, 4001)?;
        let _daemon = f.daemon_for(81, 4001)?;
        let mut client = f.connect_to(81)?;
        let header = header_for(by);
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: web\r\nUpgrade: h2c\r\n{header}\r\nContent-Length: 4\r\n\r\n"
        ))?;
        assert_eq!(client.response(false)?.tag, by);
        client.send("body")?;
        assert_eq!(client.get("/", &[DEBUG_HEADER])?.tag, "laptop");
        assert_eq!(client.get("/", &[])?.tag, "app");
        Ok(())
    });
}
