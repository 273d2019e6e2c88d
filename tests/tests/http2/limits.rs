//! What the daemon spends on idle connections and on clients that reset streams at once.

use std::time::{Duration, Instant};

use anyhow::ensure;
use h2::Reason;
use interceptor_tests::block_on;

use crate::{
    check_no_panic,
    fixture::{request, run},
};

#[test]
fn other_clients_are_served_while_one_resets_its_streams_at_once() {
    run("h2-rapid-reset", |f| {
        let (_app, _target, daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let before = daemon.rss_kib()?;
            let mut other = f.connect().await?;
            for _ in 0..10 {
                let mut client = f.connect().await?;
                for n in 0..2000 {
                    let Ok((response, mut up)) =
                        client.open(request("/silent", n % 2 == 0), false).await
                    else {
                        break;
                    };
                    up.send_reset(Reason::CANCEL);
                    drop(response);
                    if n % 50 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                let started = Instant::now();
                assert_eq!(other.get("/name", false).await?.text, "app");
                ensure!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
            }
            let grown = daemon.rss_kib()?.saturating_sub(before);
            ensure!(grown < 64 << 10, "{grown} KiB");
            Ok(())
        })?;
        check_no_panic(&daemon)
    });
}

#[test]
fn an_idle_connection_takes_less_than_16_kib() {
    run("h2-idle", |f| {
        const CONNECTIONS: u64 = 200;
        let (_app, _target, daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            // The first connection takes memory that is needed once.
            let mut clients = vec![f.connect().await?];
            clients[0].get("/name", false).await?;
            let before = daemon.rss_kib()?;
            for _ in 0..CONNECTIONS {
                let mut client = f.connect().await?;
                assert_eq!(client.get("/name", false).await?.text, "app");
                clients.push(client);
            }
            let each = daemon.rss_kib()?.saturating_sub(before) as f64 / CONNECTIONS as f64;
            println!("{each:.1} KiB for an idle connection");
            ensure!(each < 16.0, "{each} KiB for an idle connection");
            Ok(())
        })
    });
}
