//! The daemon ends by SIGTERM: GOAWAY, and FIN behind the last stream.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use interceptor_tests::block_on;
use nix::sys::signal::Signal;
use testbed::wait_until;
use tokio::time::{sleep, timeout};

use crate::{
    TIMEOUT,
    fixture::{request, run},
    raw::{ACK, GOAWAY, HEADERS, PING, RawClient},
};

/// The payload of a GOAWAY with NO_ERROR.
fn goaway(last: u32) -> Vec<u8> {
    [last.to_be_bytes(), [0; 4]].concat()
}

#[test]
fn a_client_is_asked_and_its_connection_ends_in_order() {
    run("h2-drain-asks", |f| {
        let (app, mut daemon) = (f.app()?, f.daemon()?);
        let mut client = RawClient::open(f.tcp()?)?;
        client.request(1, "/name", true)?;
        client.wait_for(HEADERS, 1)?;
        let ending = Instant::now();
        daemon.signal(Signal::SIGTERM)?;
        assert_eq!(client.wait_for(GOAWAY, 0)?.payload, goaway(u32::MAX >> 1));
        let ping = client.wait_for(PING, 0)?;
        // It has not read the GOAWAY yet, for all that the daemon knows.
        client.request(3, "/name", true)?;
        client.wait_for(HEADERS, 3)?;
        client.send_frame(PING, ACK, 0, &ping.payload)?;
        assert_eq!(client.wait_for(GOAWAY, 0)?.payload, goaway(3));
        client.wait_for_end()?;
        wait_until("the app to see the end", TIMEOUT, || app.record.ended() == 1)?;
        assert_eq!(app.record.requests().len(), 2);
        ensure!(daemon.wait()?.success());
        ensure!(ending.elapsed() < Duration::from_secs(8), "{:?}", ending.elapsed());
        Ok(())
    });
}

#[test]
fn open_streams_of_the_app_and_of_a_target_go_on_until_they_end() {
    run("h2-drain-streams", |f| {
        let (app, target, mut daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            let mut streams = Vec::new();
            for is_debug in [false, true] {
                let (response, up) = client.open(request("/echo", is_debug), false).await?;
                streams.push((response.await?.into_body(), up));
            }
            daemon.signal(Signal::SIGTERM)?;
            // The library reports a GOAWAY to whoever opens a stream.
            let refused = async {
                while client.open(request("/name", false), true).await.is_ok() {
                    sleep(Duration::from_millis(20)).await;
                }
            };
            timeout(TIMEOUT, refused).await.context("no GOAWAY")?;
            daemon.wait_metric(
                "interceptor_draining_connections",
                &[("reason", "stream")],
                |open| open == 1.0,
            )?;
            for (down, up) in &mut streams {
                for word in ["one", "two"] {
                    up.send_data(word.into(), word == "two")?;
                    assert_eq!(down.data().await.context("the end")??, word);
                }
                ensure!(down.trailers().await?.is_some());
            }
            drop(client.sender);
            timeout(TIMEOUT, client.connection).await.context("it stays open")???;
            Ok(())
        })?;
        for server in [&app, &target] {
            wait_until("its connection to end", TIMEOUT, || server.record.ended() == 1)?;
            ensure!(server.record.resets().is_empty());
        }
        ensure!(daemon.wait()?.success());
        Ok(())
    });
}
