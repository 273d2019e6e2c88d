//! An app or a target dies, or limits the age of its connections.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::join_all;
use interceptor_tests::TIMEOUT;
use rstest::rstest;
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::{
    client::Client,
    fixture::{run, tag, until},
    service::{Payload, Server},
};

#[test]
fn a_target_that_dies_ends_its_own_calls_only() {
    run("grpc-target-dies", |f| {
        let (app, target) = (f.app()?, f.target()?);
        f.run_client(async |client| {
            let (up, payload) = mpsc::channel(1);
            let mut stream = client.bidi(ReceiverStream::new(payload)).await?;
            let debug = client.debug(true);
            let mut received = debug
                .server_stream(Payload { text: "hang".into(), number: 1, ..Payload::default() })
                .await?;
            received.message().await?.context("nothing")?;
            let calls = target.record.calls().len();
            let unanswered = tokio::spawn({
                let debug = debug.clone();
                async move { debug.unary(Payload::new("hang")).await }
            });
            until("the call", || target.record.calls().len() > calls).await?;
            target.kill();
            // Messages from before stay valid. The library does not repeat calls that the server
            // has seen.
            let late = received.message().await.err().context("no failure")?;
            let early = unanswered.await?.err().context("an answer")?;
            assert_eq!(
                (late.code(), early.code()),
                (Code::Internal, Code::Internal),
                "{late}\n{early}"
            );

            up.send(Payload::new("still open?")).await?;
            assert_eq!(stream.message().await?.context("the end")?.text, "app: still open?");
            assert_eq!(
                debug.unary(Payload::new("hello")).await?.into_inner().text,
                "app",
                "the app does not serve in the target's place"
            );
            let _target = f.target()?;
            assert_eq!(debug.unary(Payload::new("hello")).await?.into_inner().text, "laptop");
            up.send(Payload::new("and now?")).await?;
            assert_eq!(stream.message().await?.context("the end")?.text, "app: and now?");
            Ok(())
        })?;
        assert_eq!(app.record.connections(), 1);
        Ok(())
    });
}

/// Afterwards the channel connects to a new app, as channels do.
#[rstest]
#[case::without_a_call_to_the_target(false)]
#[case::with_a_call_to_the_target(true)]
fn an_app_that_dies_ends_its_own_calls_only(#[case] is_target_called: bool) {
    run("grpc-app-dies", |f| {
        let (app, _target) = (f.app()?, f.target()?);
        let direct = Server::start(&f.hosts.pod, 8081, "app")?;
        let call_until_death = async |client: &Client, app: Server| {
            let mut received = client
                .server_stream(Payload { text: "hang".into(), number: 1, ..Payload::default() })
                .await?;
            received.message().await?.context("nothing")?;
            app.kill();
            let status = received.message().await.err().context("no failure")?;
            Ok::<_, anyhow::Error>((status.code(), status.message().to_owned()))
        };
        let direct_end =
            f.run_client_at(8081, async |client| call_until_death(&client, direct).await)?;
        f.run_client(async |client| {
            let (up, payload) = mpsc::channel(1);
            let mut stream = None;
            if is_target_called {
                stream = Some(client.debug(true).bidi(ReceiverStream::new(payload)).await?);
            }
            let relayed_end = call_until_death(&client, app).await?;
            match &mut stream {
                None => assert_eq!(relayed_end, direct_end),
                Some(stream) => {
                    assert_eq!(relayed_end.0, Code::Internal, "{}", relayed_end.1);
                    for _ in 0..3 {
                        up.send(Payload::new("still open?")).await?;
                        let answer = stream.message().await?.context("the end")?;
                        assert_eq!(answer.text, "laptop: still open?");
                    }
                }
            }
            let _app = f.app()?;
            // As directly, a call fails if its connection ends at that moment.
            let again = async || {
                client
                    .unary(Payload::new("hello"))
                    .await
                    .is_ok_and(|response| response.into_inner().text == "app")
            };
            let deadline = Instant::now() + TIMEOUT;
            while !again().await {
                ensure!(Instant::now() < deadline, "the channel does not connect to the new app");
            }
            if let Some(stream) = &mut stream {
                up.send(Payload::new("and now?")).await?;
                assert_eq!(stream.message().await?.context("the end")?.text, "laptop: and now?");
            }
            Ok(())
        })
    });
}

/// gRPC servers behind load balancers close their connections regularly.
#[rstest]
#[case::the_app(false)]
#[case::the_target(true)]
fn no_call_fails_when_a_server_limits_the_age_of_its_connections(#[case] is_target: bool) {
    run("grpc-age", |f| {
        let aged = |netns, port, tag| {
            Server::adapted(netns, port, tag, |server| {
                server.max_connection_age(Duration::from_millis(200))
            })
        };
        let (app, target) = if is_target {
            (f.app()?, aged(&f.hosts.laptop, 3000, "laptop")?)
        } else {
            (aged(&f.hosts.pod, 8080, "app")?, f.target()?)
        };
        f.run_client(async |client| {
            let aged = if is_target { &target.record } else { &app.record };
            let mut calls = 0;
            while aged.connections() < 4 {
                // Eight at a time, so that some arrive as their connection ends.
                let answers =
                    join_all(
                        (0..8).map(|n| {
                            let client = client.debug(n % 2 == 0);
                            async move {
                                client.unary(Payload { size: 2000, ..Payload::default() }).await
                            }
                        }),
                    );
                for (n, answer) in answers.await.into_iter().enumerate() {
                    let answer =
                        answer.with_context(|| format!("after {calls} calls"))?.into_inner();
                    assert_eq!(answer.text, tag(n % 2 == 0));
                    calls += 1;
                }
            }
            Ok(())
        })?;
        if is_target {
            assert_eq!(
                app.record.connections(),
                1,
                "the client's connection ended with the target's"
            );
        }
        Ok(())
    });
}
