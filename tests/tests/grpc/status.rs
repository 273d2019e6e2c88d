//! The end of a call: status, deadline, cancellation.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use interceptor_tests::TIMEOUT;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::{
    client::{Client, calling, endpoint},
    fixture::{run, tag, until},
    service::{Payload, Server},
};

/// What a caller sees of a call that failed.
fn failure(status: &Status) -> (Code, String, Vec<u8>, String) {
    let mut metadata = status.metadata().clone().into_headers();
    metadata.remove("date");
    let mut metadata: Vec<_> =
        metadata.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    metadata.sort();
    (status.code(), status.message().to_owned(), status.details().to_owned(), metadata.join("\n"))
}

#[test]
fn a_status_arrives_with_its_details_and_metadata_as_without_us() {
    run("grpc-status", |f| {
        let (_app, _target) = (f.app()?, f.target()?);
        // Nothing is redirected there.
        let _direct = Server::start(&f.pod, 8081, "app")?;
        let _direct_dev = Server::start(&f.pod, 8082, "laptop")?;
        let failures = |port, is_debug| {
            f.calling_port(port, async move |caller| {
                let caller = caller.debug(is_debug);
                let at_once = caller.say(Payload::new("fail")).await.err().context("no failure")?;
                let mut counted = caller
                    .count(Payload { text: "fail".into(), number: 3, ..Payload::default() })
                    .await?;
                for _ in 0..3 {
                    counted.message().await?.context("too few")?;
                }
                let late = counted.message().await.err().context("no failure")?;
                Ok([failure(&at_once), failure(&late)])
            })
        };
        let (bystanders, debug) = (failures(8080, false)?, failures(8080, true)?);
        assert_eq!(bystanders, failures(8081, false)?);
        assert_eq!(debug, failures(8082, true)?);
        for (failures, tag) in [(bystanders, "app"), (debug, "laptop")] {
            for (code, message, details, metadata) in failures {
                assert_eq!((code, message.as_str()), (Code::FailedPrecondition, "não: 100 %\n"));
                assert_eq!(details, b"\x08\x09\x12\x03why");
                ensure!(metadata.contains(&format!("server-tag: \"{tag}\"")), "{metadata}");
            }
        }
        Ok(())
    });
}

#[test]
fn a_deadline_passes_as_without_us() {
    run("grpc-deadline", |f| {
        let (app, target) = (f.app()?, f.target()?);
        let _direct = Server::start(&f.pod, 8081, "app")?;
        let missed = |port, is_debug| {
            let endpoint = endpoint(f.pod.ip4(), port)?
                // A PING that is not answered would be another end.
                .http2_keep_alive_interval(Duration::from_millis(50))
                .keep_alive_timeout(Duration::from_millis(500));
            calling(&f.client, async move {
                let caller = Client::new(endpoint.connect().await?).debug(is_debug);
                let time = Some(Duration::from_millis(700));
                let status = caller
                    .say_within(Payload::new("hang"), time)
                    .await
                    .err()
                    .context("an answer")?;
                // Others have more time.
                caller.say_within(Payload::new("hello"), Some(TIMEOUT)).await?;
                Ok((status.code(), status.message().to_owned()))
            })
        };
        let direct = missed(8081, false)?;
        for (is_debug, seen) in [(false, &app.seen), (true, &target.seen)] {
            assert_eq!(missed(8080, is_debug)?, direct);
            testbed::wait_until("the server to be told", TIMEOUT, || seen.abandoned() == 1)?;
            let time = seen.calls()[0].get("grpc-timeout").cloned().context("no deadline")?;
            assert_eq!(time, "700000u");
        }
        Ok(())
    });
}

#[test]
fn a_call_that_is_cancelled_ends_at_its_server_alone() {
    run("grpc-cancel", |f| {
        let (app, target) = (f.app()?, f.target()?);
        f.calling(async |caller| {
            let (mut cancelled, mut kept) = ([0, 0], Vec::new());
            for is_debug in [false, true] {
                let caller = caller.debug(is_debug);
                let (up, words) = mpsc::channel(1);
                kept.push((tag(is_debug), up, caller.chat(ReceiverStream::new(words)).await?));
            }
            for is_debug in [false, true] {
                let caller = caller.debug(is_debug);
                let (seen, cancelled) = if is_debug {
                    (&target.seen, &mut cancelled[1])
                } else {
                    (&app.seen, &mut cancelled[0])
                };
                let ends = async |cancelled: &mut u64| {
                    *cancelled += 1;
                    let what =
                        format!("the {} to be told for the {cancelled}. time", tag(is_debug));
                    until(&what, || seen.abandoned() == *cancelled).await
                };
                // Before there is an answer.
                let calls = seen.calls().len();
                let hung = tokio::spawn({
                    let caller = caller.clone();
                    async move { caller.say(Payload::new("hang")).await }
                });
                until("the call", || seen.calls().len() > calls).await?;
                hung.abort();
                ends(cancelled).await?;

                // Between two messages of the server.
                let mut counted = caller
                    .count(Payload { text: "hang".into(), number: 2, ..Payload::default() })
                    .await?;
                for _ in 0..2 {
                    counted.message().await?.context("too few")?;
                }
                drop(counted);
                ends(cancelled).await?;

                // Between two messages of the caller.
                let (calls, (up, words)) = (seen.calls().len(), mpsc::channel(1));
                let mut request = caller.request(ReceiverStream::new(words));
                let handle = request.cancellation_handle();
                let hung = tokio::spawn({
                    let caller = caller.clone();
                    async move { caller.gather_of(request).await }
                });
                up.send(Payload::new("hang")).await?;
                until("the call", || seen.calls().len() > calls).await?;
                handle.cancel();
                ends(cancelled).await?;
                hung.await?.err().context("an answer")?;

                // In the middle of a conversation.
                let (up, words) = mpsc::channel(1);
                let mut request = caller.request(ReceiverStream::new(words));
                let handle = request.cancellation_handle();
                let mut down = caller.chat_of(request).await?;
                up.send(Payload::new("one")).await?;
                down.message().await?.context("the end")?;
                up.send(Payload::new("hang")).await?;
                handle.cancel();
                ends(cancelled).await?;
            }
            for (tag, up, down) in &mut kept {
                up.send(Payload::new("still there?")).await?;
                let answer = down.message().await?.context("the end")?;
                assert_eq!(answer.text, format!("{tag}: still there?"));
            }
            Ok(())
        })?;
        assert_eq!((app.seen.connections(), target.seen.connections()), (1, 1));
        Ok(())
    });
}
