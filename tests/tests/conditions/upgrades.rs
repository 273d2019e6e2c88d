//! Connections that leave HTTP/1 by an upgrade, and upgrades that the server declines.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use interceptor_tests::HttpClient;
use rstest::rstest;
use testbed::TcpService;

use crate::{DEBUG, WHEN, piped, run_http};

#[rstest]
fn a_connection_that_changes_its_protocol_stays_where_its_request_went(
    #[values("app", "laptop")] by: &str,
) {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut caller = f.caller()?;
        // First somewhere else, so that the side has to change.
        let (first, header) = if by == "app" { (DEBUG, "a: b") } else { ("a: b", DEBUG) };
        caller.get("/", &[first])?;
        // What follows looks like a request, and is none.
        let trick = format!("GET / HTTP/1.1\r\nHost: web\r\n{first}\r\n\r\n");
        caller.say(format!(
            "GET /switch HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: echo\r\n{header}\r\n\r\n{trick}"
        ))?;
        let answer = caller.answer(false)?;
        assert_eq!((answer.status, &*answer.tag), (101, by));
        assert_eq!(String::from_utf8(caller.raw(trick.len())?)?, trick);
        caller.say("more")?;
        assert_eq!(caller.raw(4)?, b"more");
        caller.finish()?;
        assert_eq!(caller.rest()?, b"");
        assert_eq!(piped(&daemon, "tunnel")?, 1);
        Ok(())
    });
}

#[rstest]
fn an_upgrade_that_is_declined_leaves_the_connection_as_it_was(
    #[values("app", "laptop")] by: &str,
) {
    run_http(|f| {
        let _daemon = f.daemon()?;
        let mut caller = f.caller()?;
        let header = if by == "app" { "a: b" } else { DEBUG };
        caller.say(format!(
            "GET /no HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: echo\r\n{header}\r\n\r\n\
             GET / HTTP/1.1\r\nHost: web\r\n{DEBUG}\r\n\r\nGET / HTTP/1.1\r\nHost: web\r\n\r\n"
        ))?;
        let answers = [caller.answer(false)?, caller.answer(false)?, caller.answer(false)?];
        assert_eq!(answers.map(|answer| answer.tag), [by, "laptop", "app"]);
        Ok(())
    });
}

#[rstest]
fn an_upgrade_that_is_declined_before_its_body_is_through_leaves_the_connection_as_it_was(
    #[values("app", "laptop")] by: &str,
) {
    run_http(|f| {
        let early = |tag: &'static str, netns: &testbed::Namespace, port| {
            // Answers each head, and reads the body afterwards.
            TcpService::start(
                netns,
                (std::net::Ipv6Addr::UNSPECIFIED, port),
                move |mut stream, _| {
                    let mut lines = BufReader::new(stream.try_clone()?);
                    let (mut line, mut length) = (String::new(), 0);
                    while lines.read_line(&mut line)? > 0 {
                        if let Some(value) = line.strip_prefix("Content-Length: ") {
                            length = value.trim().parse().map_err(std::io::Error::other)?;
                        }
                        if line == "\r\n" {
                            stream.write_all(
                            format!("HTTP/1.1 403 No\r\nX-Served-By: {tag}\r\nContent-Length: 0\r\n\r\n")
                                .as_bytes(),
                        )?;
                            lines.read_exact(&mut vec![0; std::mem::take(&mut length)])?;
                        }
                        line.clear();
                    }
                    Ok(())
                },
            )
        };
        let _app = early("app", &f.base.pod, 81)?;
        let _target = early("laptop", &f.base.laptop, 4001)?;
        let rule = format!("81 -> {}:4001 {WHEN}", f.base.laptop.ip4());
        let _daemon = f.base.daemon_with(&rule, &[])?;
        let mut caller = HttpClient::connect(&f.base.client, (f.base.pod.ip4(), 81))?;
        let header = if by == "app" { "a: b" } else { DEBUG };
        caller.say(format!(
            "POST / HTTP/1.1\r\nHost: web\r\nUpgrade: h2c\r\n{header}\r\nContent-Length: 4\r\n\r\n"
        ))?;
        assert_eq!(caller.answer(false)?.tag, by);
        caller.say("body")?;
        assert_eq!(caller.get("/", &[DEBUG])?.tag, "laptop");
        assert_eq!(caller.get("/", &[])?.tag, "app");
        Ok(())
    });
}
