//! Rare frames and rare orders of frames.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use h2::{client, ext::Protocol};
use http::{Method, Request};
use interceptor_tests::block_on;
use testbed::wait_until;
use tokio::time::sleep;

use crate::{
    TIMEOUT,
    fixture::{read_response, request, run},
    raw::{ACK, DATA, END_STREAM, GOAWAY, HEADERS, OK, PING, RawClient},
    server::Server,
};

/// The app ends its connection in two steps (RFC 9113, section 6.8), which pass as they are.
#[test]
fn the_apps_goaway_and_ping_pass_and_streams_that_cross_them_are_served() {
    run("h2-goaway-race", |f| {
        let (app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        let mut client = RawClient::open(f.tcp()?)?;
        client.request(1, "/echo", false)?;
        assert_eq!(client.wait_for(HEADERS, 1)?.payload[0], OK);
        app.go_away();
        let goaway = client.wait_for(GOAWAY, 0)?;
        // The highest possible stream number, and no error.
        assert_eq!(goaway.payload, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        let ping = client.wait_for(PING, 0)?;

        for stream in [3, 5] {
            client.request(stream, "/name", true)?;
            assert_eq!(client.wait_for(HEADERS, stream)?.payload[0], OK);
            assert_eq!(client.wait_for(DATA, stream)?.payload, b"app");
        }
        // The answer to the PING shows that the client has received the GOAWAY. Open streams go on.
        client.send_frame(PING, ACK, 0, &ping.payload)?;
        let goaway = client.wait_for(GOAWAY, 0)?;
        assert_eq!(goaway.payload, [0, 0, 0, 5, 0, 0, 0, 0]);
        client.send_frame(DATA, END_STREAM, 1, b"finish")?;
        assert_eq!(client.wait_for(DATA, 1)?.payload, b"finish");
        assert_eq!(client.wait_for(HEADERS, 1)?.flags & END_STREAM, END_STREAM);
        client.wait_for_end()?;
        assert_eq!(app.record.connections(), 1);
        wait_until("the end of the connection", TIMEOUT, || app.record.ended() == 1)
    });
}

/// Extended CONNECT, as for WebSocket over HTTP/2 (RFC 8441).
#[test]
fn extended_connect_reaches_the_selected_server_if_the_app_supports_it() {
    run("h2-extended-connect", |f| {
        let allow = |builder: &mut h2::server::Builder| {
            builder.enable_connect_protocol();
        };
        let app = Server::adapted(&f.hosts.pod, 8080, "app", allow)?;
        let target = Server::adapted(&f.hosts.laptop, 3000, "laptop", allow)?;
        let _daemon = f.daemon()?;
        block_on(async {
            let mut client = f.connect().await?;
            client.get("/name", false).await?;
            ensure!(
                client.sender.is_extended_connect_protocol_enabled(),
                "the client got no such setting"
            );
            for (is_debug, record) in [(false, &app.record), (true, &target.record)] {
                let mut request = request("/echo", is_debug);
                *request.method_mut() = Method::CONNECT;
                request.extensions_mut().insert(Protocol::from_static("websocket"));
                let (response, mut up) = client.open(request, false).await?;
                let mut down = response.await?.into_body();
                for n in 0..3 {
                    let sent = Bytes::from(format!("frame {n}"));
                    up.send_data(sent.clone(), false)?;
                    let received = down.data().await.context("the end")??;
                    down.flow_control().release_capacity(received.len())?;
                    assert_eq!(received, sent);
                }
                up.send_data(Bytes::new(), true)?;
                ensure!(down.data().await.is_none());
                let record = record.requests().pop().context("no request")?;
                let protocol = record.extensions().get::<Protocol>().map(Protocol::as_str);
                assert_eq!((record.method(), protocol), (&Method::CONNECT, Some("websocket")));
                assert_eq!(record.uri(), "http://web/echo");
            }
            Ok(())
        })
    });
}

#[test]
fn extended_connect_is_not_offered_if_the_app_does_not_offer_it() {
    run("h2-no-connect", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            client.get("/name", false).await?;
            ensure!(!client.sender.is_extended_connect_protocol_enabled());
            Ok(())
        })
    });
}

#[test]
fn pushed_responses_of_the_app_reach_the_client() {
    run("h2-push", |f| {
        let (app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut builder = client::Builder::new();
            let mut client = f.connect_with(builder.enable_push(true)).await?;
            for _ in 0..5 {
                // The tables for header blocks differ from here on.
                assert_eq!(client.get("/name", true).await?.text, "laptop");
                let (mut response, _) = client.open(request("/push", false), true).await?;
                let mut pushed = response.push_promises();
                let promise = pushed.push_promise().await.context("nothing was pushed")??;
                let (request, pushed) = promise.into_parts();
                assert_eq!(request.method(), "GET", "{request:?}");
                assert!(pushed.await?.status().is_success());
                assert_eq!(read_response(response).await?.text, "app");
            }
            Ok(())
        })?;
        assert_eq!(app.record.connections(), 1);
        Ok(())
    });
}

#[test]
fn the_connection_to_a_target_ends_with_its_last_stream_after_the_rule_is_removed() {
    run("h2-withdrawn", |f| {
        let (app, target, daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            let (response, mut up) = client.open(request("/echo", true), false).await?;
            let mut body = response.await?.into_body();
            daemon.rewrite_workloads(&format!(
                "workloads: [{{name: web, netns: {}}}]\n",
                f.hosts.pod.netns_path().display()
            ))?;
            while client.get("/name", true).await?.text != "app" {}
            up.send_data("finish".into(), false)?;
            assert_eq!(body.data().await.context("the end")??, "finish");
            assert_eq!(target.record.ended(), 0);
            up.send_data(Bytes::new(), true)?;
            ensure!(body.data().await.is_none());
            assert!(body.trailers().await?.is_some());
            while target.record.ended() == 0 {
                sleep(Duration::from_millis(2)).await;
            }
            assert_eq!(
                client.get("/name", true).await?.text,
                "app",
                "the client's connection does not go on"
            );
            Ok(())
        })?;
        assert_eq!((app.record.connections(), target.record.connections()), (1, 1));
        Ok(())
    });
}

/// The head is larger than a frame, so CONTINUATION frames follow.
#[test]
fn a_request_with_a_large_head_arrives_in_several_frames() {
    run("h2-continuation", |f| {
        let (app, target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            for (is_debug, record) in [(false, &app.record), (true, &target.record)] {
                let mut request: Request<()> = request("/name", is_debug);
                for n in 0..60 {
                    let value = format!("{n}-{}", "v".repeat(1000));
                    request.headers_mut().append("x-large", value.parse()?);
                }
                let expected = request.headers().clone();
                let (response, _) = client.open(request, true).await?;
                read_response(response).await?;
                assert_eq!(*record.requests().pop().context("no request")?.headers(), expected);
            }
            Ok(())
        })
    });
}
