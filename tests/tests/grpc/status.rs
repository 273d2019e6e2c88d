//! The end of a call: status, deadline, cancellation.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use interceptor_tests::SOON;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::{
    caller::{Caller, calling, endpoint},
    fixture::{street_test, tag, until},
    talk::{Server, Words},
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
    street_test("grpc-status", |s| {
        let (_app, _dev) = (s.app()?, s.dev()?);
        // Nothing is redirected there.
        let _direct = Server::start(&s.pod, 8081, "app")?;
        let _direct_dev = Server::start(&s.pod, 8082, "laptop")?;
        let failures = |port, is_debug| {
            s.calling_port(port, async move |caller| {
                let caller = caller.debug(is_debug);
                let at_once = caller.say(Words::new("fail")).await.err().context("no failure")?;
                let mut counted = caller
                    .count(Words { text: "fail".into(), number: 3, ..Words::default() })
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
    street_test("grpc-deadline", |s| {
        let (app, dev) = (s.app()?, s.dev()?);
        let _direct = Server::start(&s.pod, 8081, "app")?;
        let missed = |port, is_debug| {
            let endpoint = endpoint(s.pod.ip4(), port)?
                // A PING that is not answered would be another end.
                .http2_keep_alive_interval(Duration::from_millis(50))
                .keep_alive_timeout(Duration::from_millis(500));
            calling(&s.client, async move {
                let caller = Caller::new(endpoint.connect().await?).debug(is_debug);
                let time = Some(Duration::from_millis(700));
                let status =
                    caller.say_within(Words::new("hang"), time).await.err().context("an answer")?;
                // Others have more time.
                caller.say_within(Words::new("hello"), Some(SOON)).await?;
                Ok((status.code(), status.message().to_owned()))
            })
        };
        let direct = missed(8081, false)?;
        for (is_debug, seen) in [(false, &app.seen), (true, &dev.seen)] {
            assert_eq!(missed(8080, is_debug)?, direct);
            testbed::wait_until("the server to be told", SOON, || seen.abandoned() == 1)?;
            let time = seen.calls()[0].get("grpc-timeout").cloned().context("no deadline")?;
            assert_eq!(time, "700000u");
        }
        Ok(())
    });
}

#[test]
fn a_call_that_is_cancelled_ends_at_its_server_alone() {
    street_test("grpc-cancel", |s| {
        let (app, dev) = (s.app()?, s.dev()?);
        s.calling(async |caller| {
            let (mut cancelled, mut kept) = ([0, 0], Vec::new());
            for is_debug in [false, true] {
                let caller = caller.debug(is_debug);
                let (up, words) = mpsc::channel(1);
                kept.push((tag(is_debug), up, caller.chat(ReceiverStream::new(words)).await?));
            }
            for is_debug in [false, true] {
                let caller = caller.debug(is_debug);
                let (seen, cancelled) = if is_debug {
                    (&dev.seen, &mut cancelled[1])
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
                    async move { caller.say(Words::new("hang")).await }
                });
                until("the call", || seen.calls().len() > calls).await?;
                hung.abort();
                ends(cancelled).await?;

                // Between two messages of the server.
                let mut counted = caller
                    .count(Words { text: "hang".into(), number: 2, ..Words::default() })
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
                up.send(Words::new("hang")).await?;
                until("the call", || seen.calls().len() > calls).await?;
                handle.cancel();
                ends(cancelled).await?;
                hung.await?.err().context("an answer")?;

                // In the middle of a conversation.
                let (up, words) = mpsc::channel(1);
                let mut request = caller.request(ReceiverStream::new(words));
                let handle = request.cancellation_handle();
                let mut down = caller.chat_of(request).await?;
                up.send(Words::new("one")).await?;
                down.message().await?.context("the end")?;
                up.send(Words::new("hang")).await?;
                handle.cancel();
                ends(cancelled).await?;
            }
            for (tag, up, down) in &mut kept {
                up.send(Words::new("still there?")).await?;
                let answer = down.message().await?.context("the end")?;
                assert_eq!(answer.text, format!("{tag}: still there?"));
            }
            Ok(())
        })?;
        assert_eq!((app.seen.connections(), dev.seen.connections()), (1, 1));
        Ok(())
    });
}
