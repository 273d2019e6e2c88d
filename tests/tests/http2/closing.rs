//! An app or a target dies, cannot be reached, or sends GOAWAY.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use h2::Reason;
use rstest::rstest;
use tokio::time::{sleep, timeout};

use crate::{
    MIB, TIMEOUT,
    fixture::{calling, head, run},
    no_panic,
    server::pattern,
};

#[test]
fn a_target_that_dies_takes_its_own_streams_along_only() {
    run("h2-dev-dies", |f| {
        let (app, target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
            let (response, mut up) = call.open(head("/echo", false), false).await?;
            let mut ours = response.await?.into_body();
            let (response, _up) = call.open(head("/stuck", true), false).await?;
            let mut theirs = response.await?.into_body();
            let (unanswered, _unanswered_up) = call.open(head("/silent", true), false).await?;
            while target.seen.requests().len() < 2 {
                sleep(Duration::from_millis(2)).await;
            }
            target.die();
            let reset = theirs.data().await.context("an end in order")?.err().context("data")?;
            assert_eq!((reset.is_reset(), reset.reason()), (true, Some(Reason::INTERNAL_ERROR)));
            let reset = unanswered.await.err().context("a response")?;
            assert_eq!((reset.is_reset(), reset.reason()), (true, Some(Reason::INTERNAL_ERROR)));

            up.send_data("still here".into(), true)?;
            assert_eq!(ours.data().await.context("the end")??, "still here");
            assert_eq!(
                call.get("/who", true).await?.text,
                "app",
                "nobody listens there: the app serves"
            );
            let _target = f.target()?;
            assert_eq!(call.get("/who", true).await?.text, "laptop", "back again");
            Ok(())
        })?;
        assert_eq!(app.seen.connections(), 1);
        Ok(())
    });
}

#[test]
fn an_app_that_dies_leaves_the_streams_of_a_target_alone() {
    run("h2-app-dies", |f| {
        let (app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
            let (response, mut up) = call.open(head("/echo", true), false).await?;
            let mut theirs = response.await?.into_body();
            let (response, _up) = call.open(head("/stuck", false), false).await?;
            let mut ours = response.await?.into_body();
            app.die();
            let reset = ours.data().await.context("an end in order")?.err().context("data")?;
            assert_eq!((reset.is_reset(), reset.reason()), (true, Some(Reason::INTERNAL_ERROR)));

            for n in 0..5 {
                up.send_data(Bytes::from(format!("{n}")), false)?;
                let heard = theirs.data().await.context("the end")??;
                theirs.flow_control().release_capacity(heard.len())?;
                assert_eq!(heard, format!("{n}"));
                sleep(Duration::from_millis(20)).await;
            }
            up.send_data(Bytes::new(), true)?;
            ensure!(theirs.data().await.is_none());
            assert!(theirs.trailers().await?.is_some());
            // And then his connection has no server any more.
            timeout(TIMEOUT, call.connection)
                .await
                .context("it stays open")??
                .context("not in order")?;
            Ok(())
        })
    });
}

#[test]
fn without_streams_of_a_target_an_app_that_dies_is_seen_to_die() {
    run("h2-app-dies-alone", |f| {
        let (app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
            assert_eq!(call.get("/who", true).await?.text, "laptop");
            let (response, _up) = call.open(head("/stuck", false), false).await?;
            let mut ours = response.await?.into_body();
            app.die();
            // A connection that ends: no word of a stream, as nobody says one when a server dies.
            let end = ours.data().await.context("an end in order")?.err().context("data")?;
            assert!(end.is_io(), "{end:?}");
            timeout(TIMEOUT, call.connection).await.context("it stays open")??.ok();
            Ok(())
        })
    });
}

#[rstest]
#[case::the_app(false)]
#[case::the_target(true)]
fn who_asks_for_no_more_streams_gets_none(#[case] is_target: bool) {
    run("h2-goaway", |f| {
        let (app, target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
            let (response, mut up) = call.open(head("/echo", is_target), false).await?;
            let mut body = response.await?.into_body();
            (if is_target { &target } else { &app }).go_away();
            up.send_data("finish".into(), false)?;
            assert_eq!(body.data().await.context("the end")??, "finish");
            if is_target {
                // Another connection to the same, as soon as it is known.
                let again = async {
                    while target.seen.connections() < 2 {
                        assert_eq!(call.get("/who", true).await?.text, "laptop");
                    }
                    anyhow::Ok(())
                };
                timeout(TIMEOUT, again).await.context("still on the first connection")??;
            } else {
                let refused = async {
                    loop {
                        match call.get("/who", false).await {
                            Ok(answer) => assert_eq!(answer.text, "app"),
                            Err(refused) => return refused,
                        }
                    }
                };
                let refused = timeout(TIMEOUT, refused).await.context("not told")?;
                ensure!(
                    refused.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_go_away),
                    "{refused:?}"
                );
            }
            up.send_data(Bytes::new(), true)?;
            ensure!(body.data().await.is_none());
            assert!(body.trailers().await?.is_some());
            if is_target {
                assert_eq!(call.get("/who", false).await?.text, "app");
            } else {
                timeout(TIMEOUT, call.connection).await.context("it stays open")???;
            }
            Ok(())
        })
    });
}

#[rstest]
#[case::refuses(true)]
#[case::is_silent(false)]
fn a_target_that_can_not_be_reached_leaves_its_streams_to_the_app(#[case] refuses: bool) {
    run("h2-unreachable", |f| {
        let (_app, daemon) = (f.app()?, f.daemon()?);
        // Accepts by the kernel alone, as somebody who is stopped at a breakpoint.
        let listener = f.laptop.run(|| TcpListener::bind(("0.0.0.0", 3000)))?;
        if refuses {
            drop(listener);
        }
        calling(async {
            let mut call = f.call().await?;
            let mut others = call.again();
            let waiting = async { call.post("/sink", true, pattern(MIB)).await };
            let passing = async {
                // Nobody else waits for him.
                let started = Instant::now();
                for _ in 0..5 {
                    assert_eq!(others.get("/who", false).await?.text, "app");
                }
                Ok(started.elapsed())
            };
            let (waited, passed) = tokio::try_join!(waiting, passing)?;
            assert!(waited.text.starts_with(&format!("app {MIB} ")), "{}", waited.text);
            ensure!(passed < Duration::from_millis(500), "{passed:?}");
            Ok(())
        })?;
        no_panic(&daemon)
    });
}
