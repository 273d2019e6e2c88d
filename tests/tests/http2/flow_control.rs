//! Back-pressure: a peer that does not read stops its own streams only.

use std::{
    future::poll_fn,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use h2::client;
use interceptor_tests::{block_on, pattern};
use testbed::Checksum;
use tokio::time::sleep;

use crate::{
    MIB,
    fixture::{request, run},
    server::{Server, read_all, send_all},
};

#[test]
fn a_target_that_does_not_read_stops_its_own_streams_only() {
    run("h2-stuck", |f| {
        let (_app, _target, daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            let before = daemon.rss_kib()?;
            let mut stuck = Vec::new();
            // More data than fits into the window of the connection.
            for _ in 0..40 {
                let (response, mut up) = client.open(request("/stuck", true), false).await?;
                let body = response.await?.into_body();
                let sending = tokio::spawn(async move {
                    let sent = send_all(&mut up, pattern(MIB), true).await;
                    (sent, body)
                });
                stuck.push(sending);
            }
            sleep(Duration::from_millis(500)).await;
            let body = pattern(MIB);
            let expected = format!("app {}", Checksum::of(&body));
            for _ in 0..10 {
                let started = Instant::now();
                assert_eq!(client.get("/name", false).await?.text, "app");
                assert_eq!(client.post("/sink", false, body.clone()).await?.text, expected);
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
fn a_client_that_does_not_read_a_response_stops_that_stream_only() {
    run("h2-slow", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut builder = client::Builder::new();
            builder.initial_connection_window_size(64 << 20);
            let mut client = f.connect_with(&builder).await?;
            let mut unread = Vec::new();
            for n in 0..60 {
                let (response, _) =
                    client.open(request(&format!("/source/{MIB}"), n % 2 == 0), true).await?;
                unread.push(response.await?.into_body());
            }
            sleep(Duration::from_millis(300)).await;
            for is_debug in [false, true] {
                let (response, _) =
                    client.open(request(&format!("/source/{MIB}"), is_debug), true).await?;
                assert_eq!(read_all(response.await?.body_mut()).await?.bytes, MIB as u64);
            }
            for mut body in unread {
                assert_eq!(read_all(&mut body).await?.bytes, MIB as u64);
            }
            Ok(())
        })
    });
}

#[test]
fn the_apps_limits_on_streams_and_windows_reach_the_client() {
    run("h2-max", |f| {
        let _app = Server::adapted(&f.hosts.pod, 8080, "app", |builder| {
            builder.max_concurrent_streams(7).initial_window_size(100_000).max_frame_size(20_000);
            builder.initial_connection_window_size(200_000);
        })?;
        let (_target, _daemon) = (f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            client.get("/name", false).await?;
            assert_eq!(client.sender.current_max_send_streams(), 7);
            // 50 requests: those over the limit wait, and none is refused.
            let all = (0..50).map(|n| {
                let mut client = client.share();
                async move { client.get("/name", n % 2 == 0).await }
            });
            assert_eq!(try_join_all(all).await?.len(), 50);

            let (response, mut up) = client.open(request("/stuck", false), false).await?;
            response.await?;
            up.reserve_capacity(MIB);
            let window = poll_fn(|cx| up.poll_capacity(cx)).await.context("closed")??;
            assert_eq!(window, 100_000);
            Ok(())
        })
    });
}
