//! Calls of all four kinds reach the server that their metadata selects.

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use interceptor_tests::pattern;
use tokio::sync::mpsc;
use tokio_stream::{iter, wrappers::ReceiverStream};

use crate::{
    fixture::{run, tag},
    service::{Payload, Server, checksum},
};

#[test]
fn metadata_selects_the_server_for_calls_of_all_kinds_on_one_channel() {
    run("grpc-kinds", |f| {
        let (app, target) = (f.app()?, f.target()?);
        f.run_client(async |client| {
            // Two streams that stay open during all other calls.
            let mut streams = Vec::new();
            for is_debug in [false, true] {
                let (up, payload) = mpsc::channel(1);
                streams.push((
                    tag(is_debug),
                    up,
                    client.debug(is_debug).bidi(ReceiverStream::new(payload)).await?,
                ));
            }
            for n in 0..6 {
                let is_debug = n % 2 == 1;
                let client = client.debug(is_debug);
                let response = client.unary(Payload::new("hello")).await?;
                assert_eq!(
                    response.metadata().get("server-tag").context("no metadata")?,
                    tag(is_debug)
                );
                assert_eq!(response.into_inner().text, tag(is_debug));

                let mut received = client
                    .server_stream(Payload { number: 20, size: 100, ..Payload::default() })
                    .await?;
                for number in 0..20 {
                    let payload = received.message().await?.context("too few")?;
                    assert_eq!((payload.text.as_str(), payload.number), (tag(is_debug), number));
                    assert_eq!(payload.content, pattern(100));
                }
                assert_eq!(received.message().await?, None);

                let parts = (1..=10)
                    .map(|size| Payload { content: pattern(size as usize), ..Payload::default() });
                let summary = client.client_stream(iter(parts)).await?;
                assert_eq!(
                    (summary.text.as_str(), summary.number, summary.size),
                    (tag(is_debug), 10, 55)
                );

                for (tag, up, down) in &mut streams {
                    up.send(Payload::new(&n.to_string())).await?;
                    let answer = down.message().await?.context("the end")?;
                    assert_eq!(answer.text, format!("{tag}: {n}"));
                }
            }
            for (_, up, mut down) in streams {
                drop(up);
                assert_eq!(down.message().await?, None);
            }
            Ok(())
        })?;
        assert_eq!((app.record.connections(), target.record.connections()), (1, 1));
        assert_eq!((app.record.calls().len(), target.record.calls().len()), (10, 10));
        assert_eq!((app.record.abandoned(), target.record.abandoned()), (0, 0));
        Ok(())
    });
}

#[test]
fn a_thousand_concurrent_calls_are_all_answered() {
    run("grpc-many", |f| {
        // The app allows fewer concurrent calls than the client makes.
        let app = Server::adapted(&f.hosts.pod, 8080, "app", |server| {
            server.max_concurrent_streams(Some(100))
        })?;
        let target = f.target()?;
        f.run_client(async |client| {
            let calls = (0..1000).map(|n: u32| {
                let is_debug = n.is_multiple_of(3);
                let client = client.debug(is_debug);
                async move {
                    let payload =
                        Payload { content: pattern(n as usize), size: n, ..Payload::default() };
                    let answer = client.unary(payload).await?.into_inner();
                    ensure!(answer.text == tag(is_debug), "{n} went to {}", answer.text);
                    ensure!(
                        answer.number == checksum(&pattern(n as usize))
                            && answer.content == pattern(n as usize),
                        "{n}"
                    );
                    Ok(())
                }
            });
            try_join_all(calls).await?;
            // 90 calls within the limit stay open at the same time.
            let mut open = Vec::new();
            for n in 0..90 {
                let (up, payload) = mpsc::channel(1);
                let down = client.debug(n % 2 == 0).bidi(ReceiverStream::new(payload)).await?;
                open.push((n, up, down));
            }
            for (n, up, down) in open.iter_mut().rev() {
                up.send(Payload::new("still open?")).await?;
                let answer = down.message().await?.context("the end")?;
                assert_eq!(answer.text, format!("{}: still open?", tag(*n % 2 == 0)));
            }
            Ok(())
        })?;
        assert_eq!((app.record.connections(), target.record.connections()), (1, 1));
        Ok(())
    });
}
