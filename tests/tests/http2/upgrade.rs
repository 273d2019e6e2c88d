//! HTTP/2 that begins with `Upgrade: h2c`: each request reaches whom the rule selects.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use anyhow::{Result, ensure};
use interceptor_tests::software::{software_test, text};
use interceptor_tests::{DEBUG_HEADER, Hosts};
use parking_lot::Mutex;
use rstest::rstest;
use testbed::{Namespace, TcpService};

use crate::{
    fixture::{Fixture, run},
    raw::{ACK, DATA, END_HEADERS, END_STREAM, HEADERS, OK, PING, PREFACE, SETTINGS, frame},
};

/// The lines of a request that offer HTTP/2, with INITIAL_WINDOW_SIZE of 100 bytes.
const OFFER: &str = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                     HTTP2-Settings: AAQAAABk\r\n";
const SWITCHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

/// A server that takes offers of HTTP/2, and speaks it with prior knowledge, too. It answers with
/// its name.
struct Server {
    _service: TcpService,
    /// The heads of HTTP/1.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(netns: &Namespace, port: u16, name: &'static str) -> Result<Self> {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let addr = (std::net::Ipv6Addr::UNSPECIFIED, port);
        let service = TcpService::start(netns, addr, {
            let heads = Arc::clone(&heads);
            move |stream, _| serve(stream, name, &heads)
        })?;
        Ok(Self { _service: service, heads })
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().clone()
    }
}

fn serve(mut stream: TcpStream, name: &str, heads: &Mutex<Vec<String>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let Some(head) = read_head(&mut stream)? else { return Ok(()) };
        if head.starts_with("PRI") {
            stream.read_exact(&mut [0; 6])?;
            stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
            return serve_frames(&mut stream, name);
        }
        let offers = head.contains("Upgrade: h2c");
        heads.lock().push(head);
        if offers {
            stream.write_all(SWITCHING)?;
            stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
            stream.write_all(&response(1, name))?;
            stream.read_exact(&mut [0; PREFACE.len()])?;
            return serve_frames(&mut stream, name);
        }
        let length = name.len();
        stream.write_all(
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}").as_bytes(),
        )?;
    }
}

/// The head of a request, with the empty line at its end.
fn read_head(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.extend(byte);
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

fn serve_frames(stream: &mut TcpStream, name: &str) -> io::Result<()> {
    loop {
        let mut header = [0; 9];
        if stream.read_exact(&mut header).is_err() {
            return Ok(());
        }
        let [a, b, c, kind, flags, id @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload)?;
        let id = u32::from_be_bytes(id);
        match kind {
            SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
            PING if flags & ACK == 0 => stream.write_all(&frame(PING, ACK, 0, &payload))?,
            HEADERS => stream.write_all(&response(id, name))?,
            _ => {}
        }
    }
}

fn response(id: u32, name: &str) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, id, &[OK]);
    [head, frame(DATA, END_STREAM, id, name.as_bytes())].concat()
}

/// Reads frames until a stream has ended, and returns its content.
fn read_stream(stream: &mut TcpStream, wanted: u32) -> Result<String> {
    let mut content = Vec::new();
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header)?;
        let [a, b, c, kind, flags, id @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload)?;
        ensure!(kind < 10, "a frame of kind {kind}");
        if (kind, u32::from_be_bytes(id)) == (DATA, wanted) {
            content.extend(payload);
            if flags & END_STREAM != 0 {
                return Ok(String::from_utf8(content)?);
            }
        }
    }
}

fn servers(f: &Fixture<'_>) -> Result<(Server, Server)> {
    let app = Server::start(&f.hosts.pod, 8080, "app")?;
    Ok((app, Server::start(&f.hosts.laptop, 3000, "laptop")?))
}

fn connect(f: &Fixture<'_>) -> Result<TcpStream> {
    let client = f.tcp()?;
    client.set_read_timeout(Some(crate::TIMEOUT))?;
    Ok(client)
}

/// Goes on behind the response 101: opens streams, and looks who answers.
fn check_streams(client: &mut TcpStream) -> Result<()> {
    client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])].concat())?;
    assert_eq!(read_stream(client, 1)?, "app");
    let other: &[u8] = b"\x82\x86\x84\x01\x03web";
    let debug = [other, b"\x00\x06x-user\x05debug"].concat();
    for (id, head, server) in
        [(3, &*debug, "laptop"), (5, other, "app"), (7, &debug, "laptop"), (9, other, "app")]
    {
        client.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, head))?;
        assert_eq!(read_stream(client, id)?, server, "stream {id}");
    }
    Ok(())
}

#[test]
fn streams_behind_an_upgrade_are_decided_one_by_one() {
    run("h2-upgrade", |f| {
        let ((app, target), daemon) = (servers(&f)?, f.daemon()?);
        let mut client = connect(&f)?;
        let head = format!("GET /a HTTP/1.1\r\nHost: web\r\n{OFFER}\r\n");
        client.write_all(head.as_bytes())?;
        let mut answer = vec![0; SWITCHING.len()];
        client.read_exact(&mut answer)?;
        assert_eq!(answer, SWITCHING);
        check_streams(&mut client)?;
        assert_eq!((app.heads(), target.heads()), (vec![head], Vec::new()));
        assert_eq!(
            daemon.metric("interceptor_piped_connections_total", &[("reason", "tunnel")]),
            0.0
        );
        Ok(())
    });
}

#[test]
fn a_target_gets_a_matching_request_without_the_offer() {
    run("h2-upgrade-match", |f| {
        let ((app, target), _daemon) = (servers(&f)?, f.daemon()?);
        let mut client = connect(&f)?;
        let head = format!("GET /a HTTP/1.1\r\nHost: web\r\n{OFFER}{DEBUG_HEADER}\r\n\r\n");
        client.write_all(head.as_bytes())?;
        let expected = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nlaptop";
        let mut answer = vec![0; expected.len()];
        client.read_exact(&mut answer)?;
        assert_eq!(String::from_utf8_lossy(&answer), expected);
        assert_eq!(
            target.heads(),
            [format!("GET /a HTTP/1.1\r\nHost: web\r\n{DEBUG_HEADER}\r\n\r\n")]
        );
        // The next request on the connection offers it to the app.
        let head = format!("GET /b HTTP/1.1\r\nHost: web\r\n{OFFER}\r\n");
        client.write_all(head.as_bytes())?;
        client.read_exact(&mut vec![0; SWITCHING.len()])?;
        check_streams(&mut client)?;
        assert_eq!(app.heads(), [head]);
        Ok(())
    });
}

/// Without valid settings of the client, the windows are not known.
#[rstest]
#[case::missing("Connection: Upgrade\r\nUpgrade: h2c\r\n")]
#[case::invalid("Upgrade: h2c\r\nHTTP2-Settings: AAIAAAAC\r\n")]
fn an_upgrade_with_wrong_settings_is_a_pipe_to_the_app(#[case] offer: &str) {
    run("h2-upgrade-wrong", |f| {
        let ((app, target), daemon) = (servers(&f)?, f.daemon()?);
        let mut client = connect(&f)?;
        let head = format!("GET /a HTTP/1.1\r\nHost: web\r\n{offer}\r\n");
        client.write_all(head.as_bytes())?;
        client.read_exact(&mut vec![0; SWITCHING.len()])?;
        client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())?;
        let debug = b"\x82\x86\x84\x01\x03web\x00\x06x-user\x05debug";
        client.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 3, debug))?;
        assert_eq!(read_stream(&mut client, 3)?, "app");
        assert_eq!((app.heads(), target.heads()), (vec![head], Vec::new()));
        assert_eq!(
            daemon.metric("interceptor_piped_connections_total", &[("reason", "tunnel")]),
            1.0
        );
        Ok(())
    });
}

#[rstest]
#[case::matching_first(&["debug", "other", "debug", "other"])]
#[case::other_first(&["other", "debug", "other", "debug"])]
fn each_user_of_a_jdk_client_reaches_its_own_server(#[case] users: &[&str]) {
    software_test("h2-upgrade-jdk", &["java"], |t| {
        let f = Fixture { hosts: Hosts::new(t)? };
        let (_servers, _daemon) = (servers(&f)?, f.daemon()?);
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http2/Client.java");
        let mut java = f.hosts.client.command("java");
        java.arg(source).arg(format!("http://{}:8080/", f.hosts.pod.ip4())).args(users);
        let printed = text(&mut java)?;
        let answered: Vec<_> =
            printed.lines().filter_map(|line| line.split(' ').next_back()).collect();
        let expected = users.iter().map(|&user| if user == "debug" { "laptop" } else { "app" });
        assert_eq!(answered, expected.collect::<Vec<_>>(), "{printed}");
        // Beginning with the second request at the latest.
        ensure!(printed.lines().skip(2).all(|line| line.starts_with("HTTP_2")), "{printed}");
        Ok(())
    });
}
