//! A PROXY protocol header in front of the client's preface.

use anyhow::Result;
use bytes::Bytes;
use h2::{client, server};
use http::Response;
use interceptor_tests::{Background, block_on};
use rstest::rstest;
use testbed::Namespace;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::fixture::{Client, run};

/// From 192.0.2.7:40000 to 192.0.2.1:80, in version 1.
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 80\r\n";
/// The same in version 2.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\x9c\x40\0\x50";

/// A server that wants `header` first. Each response carries `tag`.
fn serve(
    netns: &Namespace,
    port: u16,
    tag: &'static str,
    header: &'static [u8],
) -> Result<Background> {
    Background::serve(netns, port, move |listener: TcpListener| async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut first = vec![0; header.len()];
                stream.read_exact(&mut first).await.expect("a header");
                let tag = if first == header { tag } else { "without-header" };
                let mut connection = server::handshake(stream).await.expect("a preface");
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let response = Response::builder().header("server-tag", tag);
                    let response = response.body(()).expect("a response");
                    respond.send_response(response, true).expect("an open stream");
                }
            });
        }
    })
}

#[rstest]
fn streams_behind_a_proxy_header_are_decided_one_by_one(#[values(V1, V2)] header: &'static [u8]) {
    run("h2-proxy", |f| {
        let _app = serve(&f.hosts.pod, 8080, "app", header)?;
        let _target = serve(&f.hosts.laptop, 3000, "laptop", header)?;
        let _daemon = f.daemon()?;
        block_on(async {
            let stream = f.tcp()?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream)?;
            stream.write_all(header).await?;
            let (sender, connection): (client::SendRequest<Bytes>, _) =
                client::handshake(stream).await?;
            let mut client = Client { sender, connection: tokio::spawn(connection) };
            for n in 0..9 {
                let is_debug = n % 3 == 1;
                let response = client.get("/", is_debug).await?;
                assert_eq!(response.tag(), if is_debug { "laptop" } else { "app" }, "{n}");
            }
            Ok(())
        })
    });
}
