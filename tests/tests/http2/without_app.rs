//! An app that is away, or stands still: streams that match reach their target all the same.

use std::{
    io::{self, Read as _, Write as _},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use h2::Reason;
use interceptor_tests::block_on;
use tokio::time::timeout;

use crate::{
    TIMEOUT, check_no_panic,
    fixture::{request, run},
    raw::{ACK, HEADERS, OK, PING, PREFACE, SETTINGS, frame},
    scripted::{Parties, content, frames, matching, other, receive, response},
};

#[test]
fn streams_that_match_reach_their_target_while_the_app_is_away() {
    run("h2-no-app", |f| {
        let (_target, daemon) = (f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            let (response, mut up) = client.open(request("/echo", true), false).await?;
            let mut body = response.await?.into_body();
            assert_eq!(client.get("/name", true).await?.text, "laptop");
            // Others are refused, so that the client connects again.
            let refused = client.get("/name", false).await.err().context("an answer")?;
            let reason = refused.downcast_ref::<h2::Error>().and_then(h2::Error::reason);
            assert_eq!(reason, Some(Reason::REFUSED_STREAM), "{refused:?}");
            // The target's stream goes on.
            up.send_data("more".into(), false)?;
            assert_eq!(body.data().await.context("the end")??, "more");
            body.flow_control().release_capacity(4)?;
            up.send_data(Bytes::new(), true)?;
            ensure!(body.data().await.is_none());
            assert!(body.trailers().await?.is_some());
            timeout(TIMEOUT, client.connection).await.context("the connection stays open")???;

            let _app = f.app()?;
            let mut client = f.connect().await?;
            assert_eq!(client.get("/name", false).await?.text, "app");
            assert_eq!(client.get("/name", true).await?.text, "laptop");
            Ok(())
        })?;
        check_no_panic(&daemon)
    });
}

#[test]
fn a_client_that_wants_the_app_first_is_refused_as_directly() {
    run("h2-no-app-other", |f| {
        let (_target, daemon) = (f.target()?, f.daemon()?);
        let mut client = f.tcp()?;
        client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &other(1)].concat())?;
        let end = client.read(&mut [0; 100]).expect_err("a reset");
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
        let refused = [("outcome", "refused"), ("reason", "app_refused")];
        testbed::wait_until("the outcome", TIMEOUT, || {
            daemon.metric("interceptor_connections_total", &refused) == 1.0
        })
    });
}

/// As gRPC does. The relay answers SETTINGS and PING in the app's place.
#[test]
fn a_client_that_waits_for_settings_gets_them_while_the_app_is_away() {
    run("h2-no-app-settings", |f| {
        let (_target, _daemon) = (f.target()?, f.daemon()?);
        let mut client = f.tcp()?;
        client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())?;
        client.write_all(&frame(PING, 0, 0, b"12345678"))?;
        let received = receive(&mut client)?;
        assert_eq!(
            received,
            [
                frame(SETTINGS, 0, 0, &[]),
                frame(SETTINGS, ACK, 0, &[]),
                frame(PING, ACK, 0, b"12345678")
            ]
            .concat()
        );
        client.write_all(&[frame(SETTINGS, ACK, 0, &[]), matching(1)].concat())?;
        let received = receive(&mut client)?;
        assert_eq!(frames(&received).first().map(|frame| frame.0), Some(HEADERS));
        Ok(())
    });
}

#[test]
fn a_connection_that_began_while_the_app_stood_still_is_decided_stream_by_stream() {
    run("h2-silent-app", |f| {
        let mut parties = Parties::with_silent_app(&f, &[], Duration::from_secs(5))?;
        let mut target = parties.divert(1)?;
        parties.client.write_all(&other(3))?;
        target.write_all(&response(1, 10_000))?;
        parties.app.write_all(&frame(HEADERS, 5, 3, &[OK]))?;
        let received = parties.receive()?;
        assert_eq!(content(&received, 1), 10_000);
        ensure!(frames(&received).iter().any(|frame| (frame.0, frame.1) == (HEADERS, 3)));
        Ok(())
    });
}
