//! An app or a target dies, cannot be reached, or sends GOAWAY.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use h2::Reason;
use interceptor_tests::{block_on, pattern};
use rstest::rstest;
use tokio::time::{sleep, timeout};

use crate::{
    MIB, TIMEOUT, check_no_panic,
    fixture::{request, run},
};

#[test]
fn a_target_that_dies_ends_its_own_streams_only() {
    run("h2-target-dies", |f| {
        let (app, target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            let (response, mut up) = client.open(request("/echo", false), false).await?;
            let mut from_app = response.await?.into_body();
            let (response, _up) = client.open(request("/stuck", true), false).await?;
            let mut from_target = response.await?.into_body();
            let (unanswered, _unanswered_up) = client.open(request("/silent", true), false).await?;
            while target.record.requests().len() < 2 {
                sleep(Duration::from_millis(2)).await;
            }
            target.kill();
            let reset = from_target
                .data()
                .await
                .context("the stream ended without a reset")?
                .err()
                .context("data instead of a reset")?;
            assert_eq!((reset.is_reset(), reset.reason()), (true, Some(Reason::INTERNAL_ERROR)));
            let reset = unanswered.await.err().context("a response")?;
            assert_eq!((reset.is_reset(), reset.reason()), (true, Some(Reason::INTERNAL_ERROR)));

            up.send_data("still here".into(), true)?;
            assert_eq!(from_app.data().await.context("the end")??, "still here");
            assert_eq!(
                client.get("/name", true).await?.text,
                "app",
                "the app does not serve in the target's place"
            );
            let _target = f.target()?;
            assert_eq!(
                client.get("/name", true).await?.text,
                "laptop",
                "the new target gets no request"
            );
            Ok(())
        })?;
        assert_eq!(app.record.connections(), 1);
        Ok(())
    });
}

#[test]
fn streams_of_a_target_go_on_when_the_app_dies() {
    run("h2-app-dies", |f| {
        let (app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            let (response, mut up) = client.open(request("/echo", true), false).await?;
            let mut from_target = response.await?.into_body();
            let (response, _up) = client.open(request("/stuck", false), false).await?;
            let mut from_app = response.await?.into_body();
            app.kill();
            let reset = from_app
                .data()
                .await
                .context("the stream ended without a reset")?
                .err()
                .context("data instead of a reset")?;
            assert_eq!((reset.is_reset(), reset.reason()), (true, Some(Reason::INTERNAL_ERROR)));

            for n in 0..5 {
                up.send_data(Bytes::from(format!("{n}")), false)?;
                let received = from_target.data().await.context("the end")??;
                from_target.flow_control().release_capacity(received.len())?;
                assert_eq!(received, format!("{n}"));
                sleep(Duration::from_millis(20)).await;
            }
            up.send_data(Bytes::new(), true)?;
            ensure!(from_target.data().await.is_none());
            assert!(from_target.trailers().await?.is_some());
            // Then the client's connection has no server any more.
            timeout(TIMEOUT, client.connection)
                .await
                .context("the connection stays open")??
                .context("the connection ends with an error")?;
            Ok(())
        })
    });
}

#[test]
fn the_clients_connection_ends_when_the_app_dies_and_no_target_has_streams() {
    run("h2-app-dies-alone", |f| {
        let (app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            assert_eq!(client.get("/name", true).await?.text, "laptop");
            let (response, _up) = client.open(request("/stuck", false), false).await?;
            let mut from_app = response.await?.into_body();
            app.kill();
            // The connection ends without a reset of the stream, as when a server dies.
            let end = from_app
                .data()
                .await
                .context("the stream ended without a reset")?
                .err()
                .context("data instead of a reset")?;
            assert!(end.is_io(), "{end:?}");
            timeout(TIMEOUT, client.connection).await.context("the connection stays open")??.ok();
            Ok(())
        })
    });
}

#[rstest]
#[case::the_app(false)]
#[case::the_target(true)]
fn a_server_that_sends_goaway_gets_no_more_streams(#[case] is_target: bool) {
    run("h2-goaway", |f| {
        let (app, target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            let (response, mut up) = client.open(request("/echo", is_target), false).await?;
            let mut body = response.await?.into_body();
            (if is_target { &target } else { &app }).go_away();
            up.send_data("finish".into(), false)?;
            assert_eq!(body.data().await.context("the end")??, "finish");
            if is_target {
                // The relay opens another connection to the target when the GOAWAY has arrived.
                let again = async {
                    while target.record.connections() < 2 {
                        assert_eq!(client.get("/name", true).await?.text, "laptop");
                    }
                    anyhow::Ok(())
                };
                timeout(TIMEOUT, again).await.context("still on the first connection")??;
            } else {
                let refused = async {
                    loop {
                        match client.get("/name", false).await {
                            Ok(response) => assert_eq!(response.text, "app"),
                            Err(refused) => return refused,
                        }
                    }
                };
                let refused =
                    timeout(TIMEOUT, refused).await.context("the client gets no GOAWAY")?;
                ensure!(
                    refused.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_go_away),
                    "{refused:?}"
                );
            }
            up.send_data(Bytes::new(), true)?;
            ensure!(body.data().await.is_none());
            assert!(body.trailers().await?.is_some());
            if is_target {
                assert_eq!(client.get("/name", false).await?.text, "app");
            } else {
                timeout(TIMEOUT, client.connection)
                    .await
                    .context("the connection stays open")???;
            }
            Ok(())
        })
    });
}

#[rstest]
#[case::refuses(true)]
#[case::is_silent(false)]
fn the_app_serves_the_streams_of_a_target_that_cannot_be_reached(#[case] refuses: bool) {
    run("h2-unreachable", |f| {
        let (_app, daemon) = (f.app()?, f.daemon()?);
        // The kernel accepts, and the server does not, as at a breakpoint.
        let listener = f.hosts.laptop.run(|| TcpListener::bind(("0.0.0.0", 3000)))?;
        if refuses {
            drop(listener);
        }
        block_on(async {
            let mut client = f.connect().await?;
            let mut others = client.share();
            let waiting = async { client.post("/sink", true, pattern(MIB)).await };
            let passing = async {
                // Other streams do not wait.
                let started = Instant::now();
                for _ in 0..5 {
                    assert_eq!(others.get("/name", false).await?.text, "app");
                }
                Ok(started.elapsed())
            };
            let (waited, passed) = tokio::try_join!(waiting, passing)?;
            assert!(waited.text.starts_with(&format!("app {MIB} bytes ")), "{}", waited.text);
            ensure!(passed < Duration::from_millis(500), "{passed:?}");
            Ok(())
        })?;
        check_no_panic(&daemon)
    });
}
