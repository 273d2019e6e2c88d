//! Large messages, and readers that are slow.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, future::try_join_all};
use interceptor_tests::{TIMEOUT, pattern};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::{iter, wrappers::ReceiverStream};

use crate::{
    fixture::{MIB, run, tag},
    service::{Payload, checksum},
};

#[test]
fn large_messages_of_concurrent_calls_arrive_whole() {
    run("grpc-large", |f| {
        let (_app, _target) = (f.app()?, f.target()?);
        f.run_client(async |client| {
            const SIZE: u32 = 6 * MIB + 4321;
            let calls = [false, true].map(|is_debug| {
                let client = client.debug(is_debug);
                async move {
                    let payload = Payload {
                        content: pattern(SIZE as usize),
                        size: SIZE,
                        ..Payload::default()
                    };
                    let sum = checksum(&payload.content);
                    let parts =
                        iter((0..10).map(|_| Payload {
                            content: pattern(MIB as usize),
                            ..Payload::default()
                        }));
                    let (response, summary, received) = tokio::try_join!(
                        client.unary(payload),
                        client.client_stream(parts),
                        client.server_stream(Payload {
                            number: 10,
                            size: MIB,
                            ..Payload::default()
                        }),
                    )?;
                    let response = response.into_inner();
                    ensure!(
                        response.text == tag(is_debug) && response.number == sum,
                        "{} {}",
                        response.text,
                        response.number
                    );
                    ensure!(
                        response.content == pattern(SIZE as usize),
                        "{} bytes came back",
                        response.content.len()
                    );
                    ensure!((summary.number, summary.size) == (10, 10 * MIB), "{summary:?}");
                    let messages = received.map(|payload| {
                        payload.is_ok_and(|payload| payload.content == pattern(MIB as usize))
                    });
                    ensure!(messages.collect::<Vec<_>>().await == [true; 10]);
                    Ok(())
                }
            });
            try_join_all(calls).await?;
            Ok(())
        })
    });
}

/// Client and server send only as much as the buffers on the way hold.
#[test]
fn a_peer_that_does_not_read_stops_its_sender_and_no_other_call() {
    run("grpc-slow", |f| {
        let (app, target) = (f.app()?, f.target()?);
        f.run_client(async |client| {
            const ALL: u32 = 200;
            client.unary(Payload::new("hello")).await?;
            let before = f.daemon.rss_kib()?;
            let (mut unread, mut unwritten) = (Vec::new(), Vec::new());
            for is_debug in [false, true] {
                let client = client.debug(is_debug);
                let mut received = client
                    .server_stream(Payload { number: ALL, size: MIB, ..Payload::default() })
                    .await?;
                received.message().await?.context("nothing")?;
                unread.push(received);

                let (up, payload) = mpsc::channel(1);
                up.send(Payload::new("hang")).await?;
                tokio::spawn(
                    async move { client.client_stream(ReceiverStream::new(payload)).await },
                );
                let writing = tokio::spawn(async move {
                    let mut sent = 0;
                    let payload = Payload { content: pattern(MIB as usize), ..Payload::default() };
                    while up.send_timeout(payload.clone(), Duration::from_millis(500)).await.is_ok()
                    {
                        sent += 1;
                    }
                    (sent, up)
                });
                unwritten.push(writing);
            }
            for writing in unwritten {
                let (sent, _up) = writing.await?;
                ensure!(sent < 20, "the client sent {sent} MiB to a server that does not read");
            }
            let started = Instant::now();
            for n in 0..20 {
                let answer = client
                    .debug(n % 2 == 0)
                    .unary(Payload { size: MIB, ..Payload::default() })
                    .await?;
                assert_eq!(answer.into_inner().content, pattern(MIB as usize));
            }
            ensure!(started.elapsed() < TIMEOUT, "other calls waited: {:?}", started.elapsed());
            for (server, record) in [("app", &app.record), ("laptop", &target.record)] {
                let sent = record.sent();
                ensure!(sent < 20, "the {server} sent {sent} MiB to a client that does not read");
            }
            let grown = f.daemon.rss_kib()?.saturating_sub(before);
            ensure!(grown < 24 << 10, "{grown} KiB");
            // Everything arrives when the client reads.
            for received in &mut unread {
                for number in 1..ALL {
                    let payload = received.message().await?.context("too few")?;
                    ensure!(
                        payload.number == number && payload.content.len() == MIB as usize,
                        "{number}"
                    );
                }
                assert_eq!(received.message().await?, None);
            }
            Ok(())
        })
    });
}
