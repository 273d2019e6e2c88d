//! Peers that speak another protocol, and clients that are in wide use.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    time::Duration,
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use h2::client;
use interceptor_tests::{block_on, software::text};
use rstest::rstest;
use testbed::Checksum;

use crate::{
    check_no_panic,
    fixture::{read_response, request, run},
};

#[rstest]
#[case::answers_the_preface(24)]
#[case::waits_for_more_than_the_first_frame(45)]
fn an_app_without_http2_and_its_client_exchange_their_bytes_unchanged(#[case] enough: usize) {
    run("h2-other", |f| {
        let sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\xff\xff\
              \0\0\x04\x08\0\0\0\0\0\0\0\x10\0and more";
        let answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
        let listener = f.hosts.pod.run(|| TcpListener::bind(("0.0.0.0", 8080)))?;
        let app = std::thread::spawn(move || -> Result<Vec<u8>> {
            let (mut stream, _) = listener.accept()?;
            let mut received = vec![0; enough];
            stream.read_exact(&mut received)?;
            stream.write_all(answer)?;
            stream.read_to_end(&mut received)?;
            Ok(received)
        });
        let (_target, daemon) = (f.target()?, f.daemon()?);
        let mut stream = f.tcp()?;
        stream.write_all(sent)?;
        let mut received = vec![0; answer.len()];
        stream.read_exact(&mut received)?;
        assert_eq!(received, answer);
        stream.write_all(b" behind it")?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let received = app.join().expect("no panic")?;
        assert_eq!(received, [&sent[..], b" behind it"].concat());
        drop(daemon);
        Ok(())
    });
}

#[test]
fn a_server_that_sends_its_settings_first_does_not_turn_the_connection_into_a_pipe() {
    run("h2-first", |f| {
        // The server of `h2` sends its SETTINGS when it accepts.
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        let stream = f.tcp()?;
        std::thread::sleep(Duration::from_millis(200));
        stream.set_nonblocking(true)?;
        block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream)?;
            let (mut sender, connection) =
                client::Builder::new().handshake::<_, Bytes>(stream).await?;
            tokio::spawn(connection);
            let (response, _) = sender.send_request(request("/name", true), true)?;
            assert_eq!(read_response(response).await?.text, "laptop");
            Ok(())
        })
    });
}

#[test]
fn curl_gets_the_response_of_the_server_that_its_header_selects() {
    run("h2-curl", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        let curl = |path: &str, more: &[&str]| {
            let url = format!("http://{}:8080{path}", f.hosts.pod.ip4());
            let mut command = f.hosts.client.command("curl");
            command.args([
                "-sS",
                "--max-time",
                "5",
                "--http2-prior-knowledge",
                "-w",
                " %{http_version}",
            ]);
            text(command.args(more).arg(url))
        };
        assert_eq!(curl("/name", &[])?, "app 2");
        assert_eq!(curl("/name", &["-H", "X-User: debug"])?, "laptop 2");
        let sum = Checksum::of(b"content");
        let uploaded = curl("/sink", &["-H", "X-User: debug", "-d", "content"])?;
        assert_eq!(uploaded, format!("laptop {sum} 2"));
        Ok(())
    });
}

#[test]
fn h2load_finds_no_error_while_other_requests_are_redirected() {
    run("h2-load", |f| {
        let (_app, target, daemon) = (f.app()?, f.target()?, f.daemon()?);
        let url = format!("http://{}:8080/name", f.hosts.pod.ip4());
        let mut command = f.hosts.client.command("h2load");
        command.args(["-n", "20000", "-c", "20", "-m", "10"]).arg(&url);
        let load = std::thread::spawn(move || text(&mut command));
        block_on(async {
            while !load.is_finished() {
                let mut client = f.connect().await?;
                for n in 0..20 {
                    let is_debug = n % 2 == 0;
                    let response = client.get("/name", is_debug).await?;
                    assert_eq!(response.text, if is_debug { "laptop" } else { "app" });
                }
            }
            Ok(())
        })?;
        let report = load.join().expect("no panic")?;
        ensure!(report.contains("20000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
        assert!(
            target.record.requests().iter().all(|request| request.headers()["x-user"] == "debug")
        );
        check_no_panic(&daemon)
    });
}
