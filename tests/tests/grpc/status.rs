//! The end of a call: status, deadline, cancellation.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use interceptor_tests::TIMEOUT;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::{
    client::{Client, endpoint, run_in},
    fixture::{run, tag, until},
    service::{Payload, Server},
};

/// All parts of a status that a client sees.
fn failure(status: &Status) -> (Code, String, Vec<u8>, String) {
    let mut metadata = status.metadata().clone().into_headers();
    metadata.remove("date");
    let mut metadata: Vec<_> =
        metadata.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    metadata.sort();
    (status.code(), status.message().to_owned(), status.details().to_owned(), metadata.join("\n"))
}

#[test]
fn a_status_arrives_with_details_and_metadata_as_directly() {
    run("grpc-status", |f| {
        let (_app, _target) = (f.app()?, f.target()?);
        // These ports have no rule.
        let _direct = Server::start(&f.hosts.pod, 8081, "app")?;
        let _direct_target = Server::start(&f.hosts.pod, 8082, "laptop")?;
        let failures = |port, is_debug| {
            f.run_client_at(port, async move |client| {
                let client = client.debug(is_debug);
                let at_once =
                    client.unary(Payload::new("fail")).await.err().context("no failure")?;
                let mut received = client
                    .server_stream(Payload { text: "fail".into(), number: 3, ..Payload::default() })
                    .await?;
                for _ in 0..3 {
                    received.message().await?.context("too few")?;
                }
                let late = received.message().await.err().context("no failure")?;
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
fn a_deadline_ends_a_call_as_directly() {
    run("grpc-deadline", |f| {
        let (app, target) = (f.app()?, f.target()?);
        let _direct = Server::start(&f.hosts.pod, 8081, "app")?;
        let missed = |port, is_debug| {
            let endpoint = endpoint(f.hosts.pod.ip4(), port)?
                // An unanswered PING would end the call before the deadline.
                .http2_keep_alive_interval(Duration::from_millis(50))
                .keep_alive_timeout(Duration::from_millis(500));
            run_in(&f.hosts.client, async move {
                let client = Client::new(endpoint.connect().await?).debug(is_debug);
                let time = Some(Duration::from_millis(700));
                let status = client
                    .unary_within(Payload::new("hang"), time)
                    .await
                    .err()
                    .context("an answer")?;
                // A call with more time succeeds.
                client.unary_within(Payload::new("hello"), Some(TIMEOUT)).await?;
                Ok((status.code(), status.message().to_owned()))
            })
        };
        let direct = missed(8081, false)?;
        for (is_debug, record) in [(false, &app.record), (true, &target.record)] {
            assert_eq!(missed(8080, is_debug)?, direct);
            testbed::wait_until("the end of the call at the server", TIMEOUT, || {
                record.abandoned() == 1
            })?;
            let time = record.calls()[0].get("grpc-timeout").cloned().context("no deadline")?;
            assert_eq!(time, "700000u");
        }
        Ok(())
    });
}

#[test]
fn a_cancelled_call_ends_at_its_server_and_no_other_call_does() {
    run("grpc-cancel", |f| {
        let (app, target) = (f.app()?, f.target()?);
        f.run_client(async |client| {
            let (mut cancelled, mut kept) = ([0, 0], Vec::new());
            for is_debug in [false, true] {
                let client = client.debug(is_debug);
                let (up, payload) = mpsc::channel(1);
                kept.push((tag(is_debug), up, client.bidi(ReceiverStream::new(payload)).await?));
            }
            for is_debug in [false, true] {
                let client = client.debug(is_debug);
                let (record, cancelled) = if is_debug {
                    (&target.record, &mut cancelled[1])
                } else {
                    (&app.record, &mut cancelled[0])
                };
                let ends = async |cancelled: &mut u64| {
                    *cancelled += 1;
                    let what = format!("cancellation {cancelled} at the {}", tag(is_debug));
                    until(&what, || record.abandoned() == *cancelled).await
                };
                // Before the answer.
                let calls = record.calls().len();
                let hung = tokio::spawn({
                    let client = client.clone();
                    async move { client.unary(Payload::new("hang")).await }
                });
                until("the call", || record.calls().len() > calls).await?;
                hung.abort();
                ends(cancelled).await?;

                // Between two messages of the server.
                let mut received = client
                    .server_stream(Payload { text: "hang".into(), number: 2, ..Payload::default() })
                    .await?;
                for _ in 0..2 {
                    received.message().await?.context("too few")?;
                }
                drop(received);
                ends(cancelled).await?;

                // Between two messages of the client.
                let (calls, (up, payload)) = (record.calls().len(), mpsc::channel(1));
                let mut request = client.request(ReceiverStream::new(payload));
                let handle = request.cancellation_handle();
                let hung = tokio::spawn({
                    let client = client.clone();
                    async move { client.client_stream_of(request).await }
                });
                up.send(Payload::new("hang")).await?;
                until("the call", || record.calls().len() > calls).await?;
                handle.cancel();
                ends(cancelled).await?;
                hung.await?.err().context("an answer")?;

                // In the middle of a bidirectional stream.
                let (up, payload) = mpsc::channel(1);
                let mut request = client.request(ReceiverStream::new(payload));
                let handle = request.cancellation_handle();
                let mut down = client.bidi_of(request).await?;
                up.send(Payload::new("one")).await?;
                down.message().await?.context("the end")?;
                up.send(Payload::new("hang")).await?;
                handle.cancel();
                ends(cancelled).await?;
            }
            for (tag, up, down) in &mut kept {
                up.send(Payload::new("still open?")).await?;
                let answer = down.message().await?.context("the end")?;
                assert_eq!(answer.text, format!("{tag}: still open?"));
            }
            Ok(())
        })?;
        assert_eq!((app.record.connections(), target.record.connections()), (1, 1));
        Ok(())
    });
}
