//! Peers that speak another protocol, and clients that are in wide use.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    time::Duration,
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use h2::client;
use rstest::rstest;

use crate::{
    checksum,
    fixture::{answer, calling, head, run},
    no_panic, output,
};

#[rstest]
#[case::answers_the_preface(24)]
#[case::waits_for_more_than_the_first_frame(45)]
fn an_app_that_speaks_no_http2_sees_and_is_seen_as_without_us(#[case] enough: usize) {
    run("h2-other", |f| {
        let said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\xff\xff\0\0\x04\x08\0\0\0\0\0\0\0\x10\0and more";
        let answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
        let listener = f.pod.run(|| TcpListener::bind(("0.0.0.0", 8080)))?;
        let app = std::thread::spawn(move || -> Result<Vec<u8>> {
            let (mut stream, _) = listener.accept()?;
            let mut heard = vec![0; enough];
            stream.read_exact(&mut heard)?;
            stream.write_all(answer)?;
            stream.read_to_end(&mut heard)?;
            Ok(heard)
        });
        let (_target, daemon) = (f.target()?, f.daemon()?);
        let mut stream = f.tcp()?;
        stream.write_all(said)?;
        let mut heard = vec![0; answer.len()];
        stream.read_exact(&mut heard)?;
        assert_eq!(heard, answer);
        stream.write_all(b" behind it")?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let heard = app.join().expect("no panic")?;
        assert_eq!(heard, [&said[..], b" behind it"].concat());
        drop(daemon);
        Ok(())
    });
}

#[test]
fn a_server_that_opens_http2_before_the_caller_speaks_is_no_reason_for_a_pipe() {
    run("h2-first", |f| {
        // This crate's server sends its SETTINGS when it accepts.
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        let stream = f.tcp()?;
        std::thread::sleep(Duration::from_millis(200));
        stream.set_nonblocking(true)?;
        calling(async {
            let stream = tokio::net::TcpStream::from_std(stream)?;
            let (mut sender, connection) =
                client::Builder::new().handshake::<_, Bytes>(stream).await?;
            tokio::spawn(connection);
            let (response, _) = sender.send_request(head("/who", true), true)?;
            assert_eq!(answer(response).await?.text, "laptop");
            Ok(())
        })
    });
}

#[test]
fn curl_gets_what_is_wanted() {
    run("h2-curl", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        let curl = |path: &str, more: &[&str]| {
            let url = format!("http://{}:8080{path}", f.pod.ip4());
            let mut command = f.client.command("curl");
            command.args([
                "-sS",
                "--max-time",
                "5",
                "--http2-prior-knowledge",
                "-w",
                " %{http_version}",
            ]);
            output(command.args(more).arg(url))
        };
        assert_eq!(curl("/who", &[])?, "app 2");
        assert_eq!(curl("/who", &["-H", "X-User: debug"])?, "laptop 2");
        let sum = checksum(b"content");
        let uploaded = curl("/sink", &["-H", "X-User: debug", "-d", "content"])?;
        assert_eq!(uploaded, format!("laptop 7 {sum} 2"));
        Ok(())
    });
}

#[test]
fn h2load_finds_no_error_while_others_are_taken() {
    run("h2-load", |f| {
        let (_app, target, daemon) = (f.app()?, f.target()?, f.daemon()?);
        let url = format!("http://{}:8080/who", f.pod.ip4());
        let mut command = f.client.command("h2load");
        command.args(["-n", "20000", "-c", "20", "-m", "10"]).arg(&url);
        let load = std::thread::spawn(move || output(&mut command));
        calling(async {
            while !load.is_finished() {
                let mut call = f.call().await?;
                for n in 0..20 {
                    let is_debug = n % 2 == 0;
                    let answer = call.get("/who", is_debug).await?;
                    assert_eq!(answer.text, if is_debug { "laptop" } else { "app" });
                }
            }
            Ok(())
        })?;
        let report = load.join().expect("no panic")?;
        ensure!(report.contains("20000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
        assert!(
            target.seen.requests().iter().all(|request| request.headers()["x-user"] == "debug")
        );
        no_panic(&daemon)
    });
}
