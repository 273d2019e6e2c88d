//! Bodies larger than all buffers on the way.

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{Ipv6Addr, TcpStream},
};

use anyhow::{Result, ensure};
use interceptor_tests::{DEBUG_HEADER, RequestHead, ResponseHead, TIMEOUT, WHEN_DEBUG, run};
use rstest::rstest;
use testbed::{Checksum, Namespace, TcpService, send};

/// Starts a server that answers PUT with the checksum of the body, and GET with a large body.
fn bulk_server(netns: &Namespace, port: u16, tag: &'static str) -> Result<TcpService> {
    TcpService::start(netns, (Ipv6Addr::UNSPECIFIED, port), move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(request) = RequestHead::read(&mut reader)? {
            if request.is_put {
                let mut sum = Checksum::default();
                let mut body = (&mut reader).take(request.length.unwrap_or(0));
                let mut buffer = vec![0; 64 << 10];
                while let n @ 1.. = body.read(&mut buffer)? {
                    sum.add(&buffer[..n]);
                }
                let text = sum.to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nX-Served-By: {tag}\r\nContent-Length: {}\r\n\r\n",
                    text.len()
                );
                stream.write_all((head + &text).as_bytes())?;
            } else {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nX-Served-By: {tag}\r\nContent-Length: {LARGE}\r\n\r\n"
                );
                stream.write_all(head.as_bytes())?;
                send(&mut stream, LARGE)?;
            }
        }
        Ok(())
    })
}

/// Reads the head of a response of the server `by`, and returns the length of its body.
fn read_head(responses: &mut impl BufRead, by: &str) -> Result<u64> {
    let head = ResponseHead::read(responses)?;
    ensure!(head.tag == by, "{} answered", head.tag);
    Ok(head.length)
}

/// Larger than all buffers on the way together.
const LARGE: u64 = 192 << 20;

#[rstest]
fn large_bodies_pass_both_ways_unchanged(#[values("app", "laptop")] by: &'static str) {
    run(|f| {
        let _app = bulk_server(&f.pod, 80, "app")?;
        let _target = bulk_server(&f.laptop, 4000, "laptop")?;
        let daemon = f.daemon_with(&format!("80 -> {}:4000 {WHEN_DEBUG}", f.laptop.ip4()), &[])?;
        let to = (f.pod.ip4(), 80);
        let mut stream = f.client.run(|| TcpStream::connect(to))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let header = if by == "app" { "a: b" } else { DEBUG_HEADER };
        let mut responses = BufReader::new(stream.try_clone()?);
        stream.write_all(
            format!("PUT /x HTTP/1.1\r\nHost: web\r\n{header}\r\nContent-Length: {LARGE}\r\n\r\n")
                .as_bytes(),
        )?;
        let sent = send(&mut stream, LARGE)?;
        let length = read_head(&mut responses, by)?;
        ensure!(length == sent.to_string().len() as u64, "{length}");
        let mut checksum = vec![0; length as usize];
        responses.read_exact(&mut checksum)?;
        assert_eq!(String::from_utf8(checksum)?, sent.to_string());

        let memory = daemon.rss_kib()?;
        stream.write_all(format!("GET /x HTTP/1.1\r\nHost: web\r\n{header}\r\n\r\n").as_bytes())?;
        ensure!(read_head(&mut responses, by)? == LARGE);
        let mut received = Checksum::default();
        let mut buffer = vec![0; 64 << 10];
        while received.bytes < LARGE {
            let n = responses.read(&mut buffer)?;
            ensure!(n > 0, "ended after {received}");
            received.add(&buffer[..n]);
        }
        assert_eq!(received, sent, "the bytes differ");
        let grown = daemon.rss_kib()?.saturating_sub(memory);
        ensure!(grown < 3 * 1024, "the daemon grew by {grown} KiB");
        Ok(())
    });
}

#[test]
fn a_client_that_does_not_read_stops_the_app_and_no_other_client() {
    run(|f| {
        let _app = bulk_server(&f.pod, 80, "app")?;
        let daemon = f.daemon_with(&format!("80 -> {}:4000 {WHEN_DEBUG}", f.laptop.ip4()), &[])?;
        let to = (f.pod.ip4(), 80);
        let before = daemon.rss_kib()?;
        let mut slow = f.client.run(|| TcpStream::connect(to))?;
        slow.write_all(b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n")?;
        // Another client is served meanwhile, and all bytes arrive in the end.
        let mut other = f.client.run(|| TcpStream::connect(to))?;
        other.write_all(b"PUT /x HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nhello")?;
        other.read_exact(&mut [0; 12])?;
        let grown = daemon.rss_kib()?.saturating_sub(before);
        ensure!(grown < 3 * 1024, "the daemon grew by {grown} KiB");
        let mut received = 0;
        let mut buffer = vec![0; 64 << 10];
        while received < LARGE {
            let n = slow.read(&mut buffer)? as u64;
            ensure!(n > 0, "ended after {received}");
            received += n;
        }
        Ok(())
    });
}
