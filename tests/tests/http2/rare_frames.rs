//! What few use, and what seldom happens.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use h2::{Reason, client, ext::Protocol};
use http::{Method, Request};
use testbed::wait_until;
use tokio::time::sleep;

use crate::{
    TIMEOUT,
    fixture::{answer, calling, head, run},
    raw::{ACK, DATA, END_STREAM, GOAWAY, HEADERS, OK, PING, Raw},
    server::Server,
};

/// Streams that a caller opens before he hears that the app wants no more of them.
#[test]
fn streams_opened_before_the_apps_goaway_is_heard_have_another_connection_to_it() {
    run("h2-goaway-race", |f| {
        let (app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        let mut call = Raw::open(f.tcp()?)?;
        call.request(1, "/echo", false)?;
        assert_eq!(call.wait_for(HEADERS, 1)?.payload[0], OK);
        app.go_away();
        let told = call.wait_for(GOAWAY, 0)?;
        // Any stream up to the last one that there can be, and no error.
        assert_eq!(told.payload, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        let ping = call.wait_for(PING, 0)?;

        for stream in [3, 5] {
            call.request(stream, "/who", true)?;
            assert_eq!(call.wait_for(HEADERS, stream)?.payload[0], OK);
            assert_eq!(call.wait_for(DATA, stream)?.payload, b"app");
        }
        assert_eq!(app.seen.connections(), 2, "one for the streams before, one for all behind it");

        // Now he has heard of it, and what he has begun is ended.
        call.say(PING, ACK, 0, &ping.payload)?;
        let told = call.wait_for(GOAWAY, 0)?;
        assert_eq!(told.payload, [0, 0, 0, 5, 0, 0, 0, 0]);
        call.say(DATA, END_STREAM, 1, b"finish")?;
        assert_eq!(call.wait_for(DATA, 1)?.payload, b"finish");
        assert_eq!(call.wait_for(HEADERS, 1)?.flags & END_STREAM, END_STREAM);
        call.ends()?;
        wait_until("the end of both connections", TIMEOUT, || app.seen.ended() == 2)
    });
}

/// As the app itself would not wait for him for ever.
#[test]
fn a_caller_who_does_not_hear_that_his_connection_ends_is_not_waited_for() {
    run("h2-goaway-deaf", |f| {
        let (app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        let mut call = Raw::open(f.tcp()?)?;
        call.request(1, "/who", true)?;
        assert_eq!(call.wait_for(DATA, 1)?.payload, b"app");
        app.go_away();
        call.wait_for(GOAWAY, 0)?;
        call.wait_for(PING, 0)?;
        // He does not answer.
        call.ends()?;
        wait_until("the end of the app's connection", TIMEOUT, || app.seen.ended() == 1)
    });
}

/// WebSocket over HTTP/2 and its like (RFC 8441).
#[test]
fn extended_connect_goes_where_the_rule_says_if_the_app_has_it() {
    run("h2-extended-connect", |f| {
        let allow = |builder: &mut h2::server::Builder| {
            builder.enable_connect_protocol();
        };
        let app = Server::adapted(&f.pod, 8080, "app", allow)?;
        let target = Server::adapted(&f.laptop, 3000, "laptop", allow)?;
        let _daemon = f.daemon()?;
        calling(async {
            let mut call = f.call().await?;
            call.get("/who", false).await?;
            ensure!(call.sender.is_extended_connect_protocol_enabled(), "the caller was not told");
            for (is_debug, seen) in [(false, &app.seen), (true, &target.seen)] {
                let mut request = head("/echo", is_debug);
                *request.method_mut() = Method::CONNECT;
                request.extensions_mut().insert(Protocol::from_static("websocket"));
                let (response, mut up) = call.open(request, false).await?;
                let mut down = response.await?.into_body();
                for n in 0..3 {
                    let said = Bytes::from(format!("frame {n}"));
                    up.send_data(said.clone(), false)?;
                    let heard = down.data().await.context("the end")??;
                    down.flow_control().release_capacity(heard.len())?;
                    assert_eq!(heard, said);
                }
                up.send_data(Bytes::new(), true)?;
                ensure!(down.data().await.is_none());
                let seen = seen.requests().pop().context("no request")?;
                let protocol = seen.extensions().get::<Protocol>().map(Protocol::as_str);
                assert_eq!((seen.method(), protocol), (&Method::CONNECT, Some("websocket")));
                assert_eq!(seen.uri(), "http://web/echo");
            }
            Ok(())
        })
    });
}

#[test]
fn extended_connect_is_not_offered_if_the_app_does_not() {
    run("h2-no-connect", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
            call.get("/who", false).await?;
            ensure!(!call.sender.is_extended_connect_protocol_enabled());
            Ok(())
        })
    });
}

/// A client may refuse what is pushed at any time (RFC 9113, section 8.4), and we do.
#[test]
fn a_response_that_is_pushed_is_refused_and_the_one_that_was_asked_for_arrives() {
    run("h2-push", |f| {
        let (app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            // He would take it.
            let mut builder = client::Builder::new();
            let mut call = f.call_with(builder.enable_push(true)).await?;
            for n in 1..=30 {
                let (mut response, _) = call.open(head("/push", false), true).await?;
                let mut pushed = response.push_promises();
                assert_eq!(answer(response).await?.text, "app");
                ensure!(pushed.push_promise().await.is_none(), "it was passed on");
                while app.seen.resets().len() < n {
                    sleep(Duration::from_millis(2)).await;
                }
            }
            assert_eq!(*app.seen.resets(), [Reason::REFUSED_STREAM; 30]);
            // The connection is as before.
            assert_eq!(call.get("/who", true).await?.text, "laptop");
            Ok(())
        })?;
        assert_eq!(app.seen.connections(), 1);
        Ok(())
    });
}

/// Streams that are under way stay where they are; the connection under them goes with the last one.
#[test]
fn the_connection_to_a_target_whose_rule_is_gone_ends_with_its_last_stream() {
    run("h2-withdrawn", |f| {
        let (app, target, daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
            let (response, mut up) = call.open(head("/echo", true), false).await?;
            let mut body = response.await?.into_body();
            daemon.rewrite_workloads(&format!(
                "workloads: [{{name: web, netns: {}}}]\n",
                f.pod.netns_path().display()
            ))?;
            while call.get("/who", true).await?.text != "app" {}
            up.send_data("finish".into(), false)?;
            assert_eq!(body.data().await.context("the end")??, "finish");
            assert_eq!(target.seen.ended(), 0);
            up.send_data(Bytes::new(), true)?;
            ensure!(body.data().await.is_none());
            assert!(body.trailers().await?.is_some());
            while target.seen.ended() == 0 {
                sleep(Duration::from_millis(2)).await;
            }
            assert_eq!(call.get("/who", true).await?.text, "app", "the caller's own goes on");
            Ok(())
        })?;
        assert_eq!((app.seen.connections(), target.seen.connections()), (1, 1));
        Ok(())
    });
}

/// More than a frame has room for (CONTINUATION).
#[test]
fn a_request_with_a_large_head_arrives_in_several_frames() {
    run("h2-continuation", |f| {
        let (app, target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
            for (is_debug, seen) in [(false, &app.seen), (true, &target.seen)] {
                let mut request: Request<()> = head("/who", is_debug);
                for n in 0..60 {
                    let value = format!("{n}-{}", "v".repeat(1000));
                    request.headers_mut().append("x-large", value.parse()?);
                }
                let expected = request.headers().clone();
                let (response, _) = call.open(request, true).await?;
                answer(response).await?;
                assert_eq!(*seen.requests().pop().context("no request")?.headers(), expected);
            }
            Ok(())
        })
    });
}
