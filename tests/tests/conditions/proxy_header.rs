//! A PROXY protocol header in front of the requests of a connection.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::Result;
use interceptor_tests::{DEBUG_HEADER, Fixture, HttpClient, RequestHead, TIMEOUT, WHEN_DEBUG, run};
use rstest::rstest;
use testbed::{Namespace, TcpService};

use crate::{OTHER_HEADER, get};

/// From 192.0.2.7:40000 to 192.0.2.1:80, in version 1.
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 80\r\n";
/// The same in version 2, with an extension of three bytes.
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x07\xc0\0\x02\x01\x9c\x40\0\x50\xee\0\0";

/// A server that wants `header` first, and then requests without content.
fn server(
    netns: &Namespace,
    port: u16,
    tag: &'static str,
    header: &'static [u8],
) -> Result<TcpService> {
    TcpService::start(netns, (Ipv6Addr::UNSPECIFIED, port), move |mut stream, traffic| {
        let mut requests = BufReader::new(stream.try_clone()?);
        let mut first = vec![0; header.len()];
        requests.read_exact(&mut first)?;
        let tag = if first == header { tag } else { "without-header" };
        while RequestHead::read(&mut requests)?.is_some() {
            traffic.count_request();
            let answer =
                format!("HTTP/1.1 200 OK\r\nX-Served-By: {tag}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes())?;
        }
        Ok(())
    })
}

fn connect(f: &Fixture<'_>) -> Result<HttpClient> {
    HttpClient::connect(&f.client, (f.pod.ip4(), 80))
}

#[rstest]
fn requests_behind_a_proxy_header_are_decided_one_by_one(
    #[values(V1, V2)] header: &'static [u8],
    #[values("app", "laptop")] first: &str,
) {
    run(|f| {
        let app = server(&f.pod, 80, "app", header)?;
        let target = server(&f.laptop, 4000, "laptop", header)?;
        // The header is no news about the client's address.
        let rule = format!(
            "80 -> {}:4000 {WHEN_DEBUG} && source.address.startsWith('{}:')",
            f.laptop.ip4(),
            f.client.ip4()
        );
        let _daemon = f.daemon_with(&rule, &[])?;
        let matching = |turn: usize| (turn % 3 == 1) == (first == "app");
        let mut client = connect(&f)?;
        client.send(header)?;
        for turn in 0..9 {
            let (line, tag) =
                if matching(turn) { (DEBUG_HEADER, "laptop") } else { (OTHER_HEADER, "app") };
            client.send(get(line))?;
            assert_eq!(client.response(false)?.tag, tag, "request {turn}");
        }
        assert_eq!((app.connections(), target.connections()), (1, 1));
        Ok(())
    });
}

#[rstest]
fn a_proxy_header_may_arrive_in_any_pieces(#[values(V1, V2)] header: &'static [u8]) {
    run(|f| {
        let _app = server(&f.pod, 80, "app", header)?;
        let _target = server(&f.laptop, 4000, "laptop", header)?;
        let _daemon = f.daemon_with(&format!("80 -> {}:4000 {WHEN_DEBUG}", f.laptop.ip4()), &[])?;
        for cut in 1..=header.len() {
            for (line, tag) in [(DEBUG_HEADER, "laptop"), (OTHER_HEADER, "app")] {
                let mut client = connect(&f)?;
                let bytes = [header, get(line).as_bytes()].concat();
                client.send(&bytes[..cut])?;
                thread::sleep(Duration::from_millis(2));
                client.send(&bytes[cut..])?;
                assert_eq!(client.response(false)?.tag, tag, "cut at {cut}");
            }
        }
        Ok(())
    });
}

/// As of a mail server behind a proxy.
#[test]
fn an_app_that_speaks_first_gets_the_proxy_header_at_once() {
    run(|f| {
        let _app = TcpService::start(&f.pod, (Ipv6Addr::UNSPECIFIED, 80), |mut stream, _| {
            let mut header = vec![0; V1.len()];
            stream.read_exact(&mut header)?;
            stream.write_all(b"220 ready\r\n")?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest)?;
            stream.write_all(&[&header[..], &rest].concat())
        })?;
        let _daemon = f.daemon_with(&format!("80 -> {}:3000 {WHEN_DEBUG}", f.laptop.ip4()), &[])?;
        let mut client = connect(&f)?;
        client.send(V1)?;
        assert_eq!(client.read_exact(11)?, b"220 ready\r\n");
        client.send(b"QUIT\r\n")?;
        client.finish()?;
        assert_eq!(client.read_to_end()?, [V1, b"QUIT\r\n"].concat());
        Ok(())
    });
}

/// What no server takes reaches the app byte for byte, and so does a second header.
#[rstest]
#[case::not_v1(b"PROXY TCP4 192.0.2.7\nGET / HTTP/1.1\r\n\r\n")]
#[case::not_v2(b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0GET / HTTP/1.1\r\n\r\n")]
#[case::twice(&[V1, V2, b"GET / HTTP/1.1\r\nX-User: debug\r\n\r\n"].concat())]
fn what_is_no_proxy_header_reaches_the_app_unchanged(#[case] bytes: &[u8]) {
    run(|f| {
        let _app = TcpService::echo(&f.pod, (Ipv6Addr::UNSPECIFIED, 80))?;
        let _daemon = f.daemon_with(&format!("80 -> {}:3000 {WHEN_DEBUG}", f.laptop.ip4()), &[])?;
        let mut client = connect(&f)?;
        client.send(bytes)?;
        client.finish()?;
        assert_eq!(client.read_to_end()?, bytes);
        assert_eq!(f.target.connections(), 0);
        Ok(())
    });
}

/// The target gets the daemon's own header first: the daemon is the proxy in front of it.
#[test]
fn the_daemons_own_proxy_header_is_in_front_of_the_clients() {
    run(|f| {
        let _app = server(&f.pod, 80, "app", V1)?;
        let (sender, headers) = std::sync::mpsc::channel();
        let _target =
            TcpService::start(&f.laptop, (f.laptop.ip4(), 4000), move |mut stream, _| {
                let mut first = vec![0; 28 + V1.len()];
                stream.read_exact(&mut first)?;
                let _ = sender.send(first);
                stream.write_all(b"HTTP/1.1 204 No Content\r\nX-Served-By: laptop\r\n\r\n")
            })?;
        let rule = format!("80 -> {}:4000 {WHEN_DEBUG} with proxy-v2", f.laptop.ip4());
        let _daemon = f.daemon_with(&rule, &[])?;
        let mut client = connect(&f)?;
        client.send([V1, get(DEBUG_HEADER).as_bytes()].concat())?;
        assert_eq!(client.response(false)?.tag, "laptop");
        let first = headers.recv_timeout(TIMEOUT)?;
        let IpAddr::V4(source) = client.local_addr()?.ip() else { panic!("IPv4") };
        assert_eq!(first[16..20], Ipv4Addr::octets(&source));
        assert_eq!(&first[28..], V1);
        Ok(())
    });
}

#[test]
fn a_connection_with_nothing_but_a_proxy_header_ends_as_the_app_ends_it() {
    run(|f| {
        let _app = TcpService::start(&f.pod, (Ipv6Addr::UNSPECIFIED, 80), |mut stream, _| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all)?;
            stream.write_all(&all)
        })?;
        let _daemon = f.daemon_with(&format!("80 -> {}:3000 {WHEN_DEBUG}", f.laptop.ip4()), &[])?;
        let to = (f.pod.ip4(), 80);
        let mut stream = f.client.run(|| TcpStream::connect(to))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(V2)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        assert_eq!(all, V2);
        Ok(())
    });
}
