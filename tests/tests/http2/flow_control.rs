//! Back-pressure: a peer that does not read stops its own streams only.

use std::{
    future::poll_fn,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use h2::client;
use tokio::time::sleep;

use crate::{
    MIB, checksum,
    fixture::{calling, head, run},
    server::{Server, pattern, read_all, send_all},
};

#[test]
fn a_target_that_does_not_read_holds_up_its_own_streams_only() {
    run("h2-stuck", |f| {
        let (_app, _target, daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
            let before = daemon.rss_kib()?;
            let mut stuck = Vec::new();
            // More of them than the window of a connection has room for.
            for _ in 0..40 {
                let (response, mut up) = call.open(head("/stuck", true), false).await?;
                let body = response.await?.into_body();
                let sending = tokio::spawn(async move {
                    let sent = send_all(&mut up, pattern(MIB), true).await;
                    (sent, body)
                });
                stuck.push(sending);
            }
            sleep(Duration::from_millis(500)).await;
            let body = pattern(MIB);
            let expected = format!("app {MIB} {}", checksum(&body));
            for _ in 0..10 {
                let started = Instant::now();
                assert_eq!(call.get("/who", false).await?.text, "app");
                assert_eq!(call.post("/sink", false, body.clone()).await?.text, expected);
                ensure!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
            }
            assert!(stuck.iter().all(|sending| !sending.is_finished()));
            let grown = daemon.rss_kib()?.saturating_sub(before);
            ensure!(grown < 24 << 10, "{grown} KiB for 40 streams of 64 KiB");
            Ok(())
        })
    });
}

#[test]
fn a_caller_who_does_not_read_a_response_holds_up_that_stream_only() {
    run("h2-slow", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut builder = client::Builder::new();
            builder.initial_connection_window_size(64 << 20);
            let mut call = f.call_with(&builder).await?;
            let mut unread = Vec::new();
            for n in 0..60 {
                let (response, _) =
                    call.open(head(&format!("/source/{MIB}"), n % 2 == 0), true).await?;
                unread.push(response.await?.into_body());
            }
            sleep(Duration::from_millis(300)).await;
            for is_debug in [false, true] {
                let (response, _) =
                    call.open(head(&format!("/source/{MIB}"), is_debug), true).await?;
                assert_eq!(read_all(response.await?.body_mut()).await?.0, MIB);
            }
            for mut body in unread {
                assert_eq!(read_all(&mut body).await?.0, MIB);
            }
            Ok(())
        })
    });
}

#[test]
fn the_number_of_streams_that_the_app_allows_is_what_the_caller_may_open() {
    run("h2-max", |f| {
        let _app = Server::adapted(&f.pod, 8080, "app", |builder| {
            builder.max_concurrent_streams(7).initial_window_size(100_000).max_frame_size(20_000);
        })?;
        let (_target, _daemon) = (f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
            call.get("/who", false).await?;
            assert_eq!(call.sender.current_max_send_streams(), 7);
            // As many again as are let in: the rest wait in line and none is refused.
            let all = (0..50).map(|n| {
                let mut call = call.again();
                async move { call.get("/who", n % 2 == 0).await }
            });
            assert_eq!(try_join_all(all).await?.len(), 50);

            let (response, mut up) = call.open(head("/stuck", false), false).await?;
            response.await?;
            up.reserve_capacity(MIB);
            let window = poll_fn(|cx| up.poll_capacity(cx)).await.context("closed")??;
            assert_eq!(window, 100_000);
            Ok(())
        })
    });
}
