//! Large messages, and readers that are slow.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, future::try_join_all};
use interceptor_tests::TIMEOUT;
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::{iter, wrappers::ReceiverStream};

use crate::{
    fixture::{MIB, run, tag},
    service::{Payload, checksum, pattern},
};

#[test]
fn large_messages_arrive_whole_beside_each_other() {
    run("grpc-large", |f| {
        let (_app, _target) = (f.app()?, f.target()?);
        f.calling(async |caller| {
            const SIZE: u32 = 6 * MIB + 4321;
            let calls = [false, true].map(|is_debug| {
                let caller = caller.debug(is_debug);
                async move {
                    let words =
                        Payload { content: pattern(SIZE), size: SIZE, ..Payload::default() };
                    let sum = checksum(&words.content);
                    let parts = iter(
                        (0..10).map(|_| Payload { content: pattern(MIB), ..Payload::default() }),
                    );
                    let (said, gathered, counted) = tokio::try_join!(
                        caller.say(words),
                        caller.gather(parts),
                        caller.count(Payload { number: 10, size: MIB, ..Payload::default() }),
                    )?;
                    let said = said.into_inner();
                    ensure!(
                        said.text == tag(is_debug) && said.number == sum,
                        "{} {}",
                        said.text,
                        said.number
                    );
                    ensure!(
                        said.content == pattern(SIZE),
                        "{} bytes came back",
                        said.content.len()
                    );
                    ensure!((gathered.number, gathered.size) == (10, 10 * MIB), "{gathered:?}");
                    let messages =
                        counted.map(|words| words.is_ok_and(|words| words.content == pattern(MIB)));
                    ensure!(messages.collect::<Vec<_>>().await == [true; 10]);
                    Ok(())
                }
            });
            try_join_all(calls).await?;
            Ok(())
        })
    });
}

/// Neither a caller nor a server who does not read is sent more than there is room for, and nobody else waits for him.
#[test]
fn who_does_not_read_stops_who_writes_to_him_and_nobody_else() {
    run("grpc-slow", |f| {
        let (app, target) = (f.app()?, f.target()?);
        f.calling(async |caller| {
            const ALL: u32 = 200;
            caller.say(Payload::new("hello")).await?;
            let before = f.daemon.rss_kib()?;
            let (mut unread, mut unwritten) = (Vec::new(), Vec::new());
            for is_debug in [false, true] {
                let caller = caller.debug(is_debug);
                let mut counted =
                    caller.count(Payload { number: ALL, size: MIB, ..Payload::default() }).await?;
                counted.message().await?.context("nothing")?;
                unread.push(counted);

                let (up, words) = mpsc::channel(1);
                up.send(Payload::new("hang")).await?;
                tokio::spawn(async move { caller.gather(ReceiverStream::new(words)).await });
                let writing = tokio::spawn(async move {
                    let mut sent = 0;
                    let words = Payload { content: pattern(MIB), ..Payload::default() };
                    while up.send_timeout(words.clone(), Duration::from_millis(500)).await.is_ok() {
                        sent += 1;
                    }
                    (sent, up)
                });
                unwritten.push(writing);
            }
            for writing in unwritten {
                let (sent, _up) = writing.await?;
                ensure!(sent < 20, "{sent} MiB were sent to somebody who does not read");
            }
            let started = Instant::now();
            for n in 0..20 {
                let answer = caller
                    .debug(n % 2 == 0)
                    .say(Payload { size: MIB, ..Payload::default() })
                    .await?;
                assert_eq!(answer.into_inner().content, pattern(MIB));
            }
            ensure!(started.elapsed() < TIMEOUT, "others waited: {:?}", started.elapsed());
            for (who, seen) in [("app", &app.seen), ("laptop", &target.seen)] {
                let counted = seen.counted();
                ensure!(counted < 20, "the {who} sent {counted} MiB to somebody who does not read");
            }
            let grown = f.daemon.rss_kib()?.saturating_sub(before);
            ensure!(grown < 24 << 10, "{grown} KiB");
            // And all of it arrives when it is wanted.
            for counted in &mut unread {
                for number in 1..ALL {
                    let words = counted.message().await?.context("too few")?;
                    ensure!(
                        words.number == number && words.content.len() == MIB as usize,
                        "{number}"
                    );
                }
                assert_eq!(counted.message().await?, None);
            }
            Ok(())
        })
    });
}
