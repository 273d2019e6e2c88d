//! Calls of all four kinds reach the server that their metadata selects.

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use tokio::sync::mpsc;
use tokio_stream::{iter, wrappers::ReceiverStream};

use crate::{
    fixture::{run, tag},
    service::{Payload, Server, checksum, pattern},
};

#[test]
fn calls_of_all_kinds_on_one_channel_go_where_their_metadata_says() {
    run("grpc-kinds", |f| {
        let (app, target) = (f.app()?, f.target()?);
        f.calling(async |caller| {
            // Two conversations that go on while everything else is called.
            let mut chats = Vec::new();
            for is_debug in [false, true] {
                let (up, words) = mpsc::channel(1);
                chats.push((
                    tag(is_debug),
                    up,
                    caller.debug(is_debug).chat(ReceiverStream::new(words)).await?,
                ));
            }
            for n in 0..6 {
                let is_debug = n % 2 == 1;
                let caller = caller.debug(is_debug);
                let said = caller.say(Payload::new("hello")).await?;
                assert_eq!(
                    said.metadata().get("server-tag").context("no metadata")?,
                    tag(is_debug)
                );
                assert_eq!(said.into_inner().text, tag(is_debug));

                let mut counted =
                    caller.count(Payload { number: 20, size: 100, ..Payload::default() }).await?;
                for number in 0..20 {
                    let words = counted.message().await?.context("too few")?;
                    assert_eq!((words.text.as_str(), words.number), (tag(is_debug), number));
                    assert_eq!(words.content, pattern(100));
                }
                assert_eq!(counted.message().await?, None);

                let parts =
                    (1..=10).map(|size| Payload { content: pattern(size), ..Payload::default() });
                let gathered = caller.gather(iter(parts)).await?;
                assert_eq!(
                    (gathered.text.as_str(), gathered.number, gathered.size),
                    (tag(is_debug), 10, 55)
                );

                for (tag, up, down) in &mut chats {
                    up.send(Payload::new(&n.to_string())).await?;
                    let answer = down.message().await?.context("the end")?;
                    assert_eq!(answer.text, format!("{tag}: {n}"));
                }
            }
            for (_, up, mut down) in chats {
                drop(up);
                assert_eq!(down.message().await?, None);
            }
            Ok(())
        })?;
        assert_eq!((app.seen.connections(), target.seen.connections()), (1, 1));
        assert_eq!((app.seen.calls().len(), target.seen.calls().len()), (10, 10));
        assert_eq!((app.seen.abandoned(), target.seen.abandoned()), (0, 0));
        Ok(())
    });
}

#[test]
fn many_calls_at_the_same_time_are_all_answered() {
    run("grpc-many", |f| {
        // Fewer at a time than are called.
        let app = Server::adapted(&f.pod, 8080, "app", |server| {
            server.max_concurrent_streams(Some(100))
        })?;
        let target = f.target()?;
        f.calling(async |caller| {
            let calls = (0..1000).map(|n: u32| {
                let is_debug = n.is_multiple_of(3);
                let caller = caller.debug(is_debug);
                async move {
                    let words = Payload { content: pattern(n), size: n, ..Payload::default() };
                    let answer = caller.say(words).await?.into_inner();
                    ensure!(answer.text == tag(is_debug), "{n} went to {}", answer.text);
                    ensure!(
                        answer.number == checksum(&pattern(n)) && answer.content == pattern(n),
                        "{n}"
                    );
                    Ok(())
                }
            });
            try_join_all(calls).await?;
            // And as many as are allowed stay open.
            let mut open = Vec::new();
            for n in 0..90 {
                let (up, words) = mpsc::channel(1);
                let down = caller.debug(n % 2 == 0).chat(ReceiverStream::new(words)).await?;
                open.push((n, up, down));
            }
            for (n, up, down) in open.iter_mut().rev() {
                up.send(Payload::new("still there?")).await?;
                let answer = down.message().await?.context("the end")?;
                assert_eq!(answer.text, format!("{}: still there?", tag(*n % 2 == 0)));
            }
            Ok(())
        })?;
        assert_eq!((app.seen.connections(), target.seen.connections()), (1, 1));
        Ok(())
    });
}
