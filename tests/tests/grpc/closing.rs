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
fn a_target_that_dies_takes_its_own_calls_along_only() {
    run("grpc-dev-dies", |f| {
        let (app, target) = (f.app()?, f.target()?);
        f.calling(async |caller| {
            let (up, words) = mpsc::channel(1);
            let mut chat = caller.chat(ReceiverStream::new(words)).await?;
            let debug = caller.debug(true);
            let mut counted = debug
                .count(Payload { text: "hang".into(), number: 1, ..Payload::default() })
                .await?;
            counted.message().await?.context("nothing")?;
            let calls = target.seen.calls().len();
            let unanswered = tokio::spawn({
                let debug = debug.clone();
                async move { debug.say(Payload::new("hang")).await }
            });
            until("the call", || target.seen.calls().len() > calls).await?;
            target.die();
            // What was said before it died stands; what it has looked at can't be called again by the library.
            let late = counted.message().await.err().context("no failure")?;
            let early = unanswered.await?.err().context("an answer")?;
            assert_eq!(
                (late.code(), early.code()),
                (Code::Internal, Code::Internal),
                "{late}\n{early}"
            );

            up.send(Payload::new("still there?")).await?;
            assert_eq!(chat.message().await?.context("the end")?.text, "app: still there?");
            assert_eq!(
                debug.say(Payload::new("hello")).await?.into_inner().text,
                "app",
                "nobody else is there"
            );
            let _target = f.target()?;
            assert_eq!(debug.say(Payload::new("hello")).await?.into_inner().text, "laptop");
            up.send(Payload::new("and now?")).await?;
            assert_eq!(chat.message().await?.context("the end")?.text, "app: and now?");
            Ok(())
        })?;
        assert_eq!(app.seen.connections(), 1);
        Ok(())
    });
}

/// The channel finds the app that is started afterwards, as channels do.
#[rstest]
#[case::and_nobody_else_is_called(false)]
#[case::while_a_target_is_called(true)]
fn an_app_that_dies_takes_its_own_calls_along_only(#[case] is_target_called: bool) {
    run("grpc-app-dies", |f| {
        let (app, _target) = (f.app()?, f.target()?);
        let direct = Server::start(&f.pod, 8081, "app")?;
        let dies = async |caller: &Client, app: Server| {
            let mut counted = caller
                .count(Payload { text: "hang".into(), number: 1, ..Payload::default() })
                .await?;
            counted.message().await?.context("nothing")?;
            app.die();
            let status = counted.message().await.err().context("no failure")?;
            Ok::<_, anyhow::Error>((status.code(), status.message().to_owned()))
        };
        let without_us = f.calling_port(8081, async |caller| dies(&caller, direct).await)?;
        f.calling(async |caller| {
            let (up, words) = mpsc::channel(1);
            let mut chat = None;
            if is_target_called {
                chat = Some(caller.debug(true).chat(ReceiverStream::new(words)).await?);
            }
            let with_us = dies(&caller, app).await?;
            match &mut chat {
                None => assert_eq!(with_us, without_us),
                Some(chat) => {
                    assert_eq!(with_us.0, Code::Internal, "{}", with_us.1);
                    for _ in 0..3 {
                        up.send(Payload::new("still there?")).await?;
                        let answer = chat.message().await?.context("the end")?;
                        assert_eq!(answer.text, "laptop: still there?");
                    }
                }
            }
            let _app = f.app()?;
            // As without us, a call that meets the end of a connection fails.
            let again = async || {
                caller
                    .say(Payload::new("hello"))
                    .await
                    .is_ok_and(|said| said.into_inner().text == "app")
            };
            let deadline = Instant::now() + TIMEOUT;
            while !again().await {
                ensure!(Instant::now() < deadline, "the channel finds nobody any more");
            }
            if let Some(chat) = &mut chat {
                up.send(Payload::new("and now?")).await?;
                assert_eq!(chat.message().await?.context("the end")?.text, "laptop: and now?");
            }
            Ok(())
        })
    });
}

/// Servers of gRPC behind balancers end their connections from time to time, and no call fails by it.
#[rstest]
#[case::the_app(false)]
#[case::the_target(true)]
fn a_server_that_limits_the_age_of_its_connections_fails_no_call(#[case] is_target: bool) {
    run("grpc-age", |f| {
        let aged = |netns, port, tag| {
            Server::adapted(netns, port, tag, |server| {
                server.max_connection_age(Duration::from_millis(200))
            })
        };
        let (app, target) = if is_target {
            (f.app()?, aged(&f.laptop, 3000, "laptop")?)
        } else {
            (aged(&f.pod, 8080, "app")?, f.target()?)
        };
        f.calling(async |caller| {
            let aged = if is_target { &target.seen } else { &app.seen };
            let mut calls = 0;
            while aged.connections() < 4 {
                // Several at a time: some of them meet the end of a connection.
                let answers = join_all((0..8).map(|n| {
                    let caller = caller.debug(n % 2 == 0);
                    async move { caller.say(Payload { size: 2000, ..Payload::default() }).await }
                }));
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
                app.seen.connections(),
                1,
                "the end of a target's connection is none of the caller's"
            );
        }
        Ok(())
    });
}
