//! What the daemon spends on idle connections and on clients that reset streams at once.

use std::time::{Duration, Instant};

use anyhow::ensure;
use h2::Reason;

use crate::{
    fixture::{calling, head, run},
    no_panic,
};

/// Floods are stopped, and meanwhile and afterwards others are served.
#[test]
fn a_caller_who_resets_streams_as_fast_as_he_opens_them_harms_nobody() {
    run("h2-rapid-reset", |f| {
        let (_app, _target, daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let before = daemon.rss_kib()?;
            let mut other = f.call().await?;
            for _ in 0..10 {
                let mut call = f.call().await?;
                for n in 0..2000 {
                    let Ok((response, mut up)) =
                        call.open(head("/silent", n % 2 == 0), false).await
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
                assert_eq!(other.get("/who", false).await?.text, "app");
                ensure!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
            }
            let grown = daemon.rss_kib()?.saturating_sub(before);
            ensure!(grown < 64 << 10, "{grown} KiB");
            Ok(())
        })?;
        no_panic(&daemon)
    });
}

#[test]
fn idle_connections_cost_little() {
    run("h2-idle", |f| {
        const CONNECTIONS: u64 = 200;
        let (_app, _target, daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            // What the daemon needs once.
            let mut calls = vec![f.call().await?];
            calls[0].get("/who", false).await?;
            let before = daemon.rss_kib()?;
            for _ in 0..CONNECTIONS {
                let mut call = f.call().await?;
                assert_eq!(call.get("/who", false).await?.text, "app");
                calls.push(call);
            }
            let each = daemon.rss_kib()?.saturating_sub(before) as f64 / CONNECTIONS as f64;
            println!("{each:.1} KiB for an idle connection");
            ensure!(each < 128.0, "{each} KiB for an idle connection");
            Ok(())
        })
    });
}
