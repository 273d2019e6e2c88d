//! The pipe between two pairs of streams: TCP on loopback, and in memory.

use std::sync::Arc;

use rstest::rstest;
use tokio::{
    task::JoinHandle,
    time::{Duration, timeout},
};

use super::*;
use crate::relay::{
    observe::testing::{Recorded, Recorder},
    stream::testing::{Kind, fill, read_to_end},
};

const TIMEOUT: Duration = Duration::from_secs(5);

/// A client and a server with the pipe between them.
struct Piped {
    client: Stream,
    server: Stream,
    pipe: JoinHandle<Ending>,
    observed: Arc<Recorder>,
}

async fn piped(kind: Kind, first: &[u8]) -> Piped {
    let (client, a) = kind.pair().await;
    let (b, server) = kind.pair().await;
    let observed: Arc<Recorder> = Arc::default();
    let before = Before { up: first.to_vec(), ..Before::default() };
    let observer = Arc::clone(&observed);
    let pipe = tokio::spawn(async move {
        let ending = pipe(&a, &b, before, &*observer).await;
        if ending != Ending::Closed {
            a.reset_on_close();
            b.reset_on_close();
        }
        ending
    });
    Piped { client, server, pipe, observed }
}

async fn ending(pipe: JoinHandle<Ending>) -> Ending {
    timeout(TIMEOUT, pipe).await.expect("the pipe ends").expect("without a panic")
}

async fn read_exact(stream: &Stream, n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < n {
        assert!(stream.read_more(&mut bytes).await.expect("read") > 0, "an early end: {bytes:?}");
    }
    assert_eq!(bytes.len(), n);
    bytes
}

/// The stream ends with a reset, whatever was sent before.
async fn assert_reset(stream: &Stream) {
    let mut before = Vec::new();
    let error = loop {
        match stream.read_more(&mut before).await {
            Ok(0) => panic!("an end, not a reset"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[rstest]
#[tokio::test]
async fn bytes_go_both_ways_and_are_observed(#[values(Kind::Tcp, Kind::Memory)] kind: Kind) {
    let piped = piped(kind, b"").await;
    piped.client.write_all(b"question").await.expect("write");
    assert_eq!(read_exact(&piped.server, 8).await, b"question");
    piped.server.write_all(b"ok").await.expect("write");
    assert_eq!(read_exact(&piped.client, 2).await, b"ok");
    drop((piped.client, piped.server));
    assert_eq!(ending(piped.pipe).await, Ending::Closed);
    let passed = |bytes: &[u8]| Recorded { bytes: bytes.to_vec(), heads: 0, ended: true };
    assert_eq!(piped.observed.recorded(Direction::Up), passed(b"question"));
    assert_eq!(piped.observed.recorded(Direction::Down), passed(b"ok"));
}

#[rstest]
#[tokio::test]
async fn bytes_read_before_go_first(#[values(Kind::Tcp, Kind::Memory)] kind: Kind) {
    let piped = piped(kind, b"header ").await;
    piped.client.write_all(b"body").await.expect("write");
    piped.client.finish().expect("finish");
    assert_eq!(read_to_end(&piped.server).await, b"header body");
}

#[rstest]
#[tokio::test]
async fn a_direction_ends_by_itself(#[values(Kind::Tcp, Kind::Memory)] kind: Kind) {
    let piped = piped(kind, b"").await;
    piped.client.write_all(b"all of it").await.expect("write");
    piped.client.finish().expect("finish");
    assert_eq!(read_to_end(&piped.server).await, b"all of it");
    piped.server.write_all(b"still open this way").await.expect("write");
    piped.server.finish().expect("finish");
    assert_eq!(read_to_end(&piped.client).await, b"still open this way");
    assert_eq!(ending(piped.pipe).await, Ending::Closed);
}

#[rstest]
#[tokio::test]
async fn a_fin_right_behind_the_last_bytes_is_not_lost(
    #[values(Kind::Tcp, Kind::Memory)] kind: Kind,
) {
    for _ in 0..200 {
        let piped = piped(kind, b"").await;
        piped.client.write_all(b"x").await.expect("write");
        drop(piped.client);
        let all = timeout(TIMEOUT, read_to_end(&piped.server)).await.expect("EOF arrives");
        assert_eq!(all, b"x");
    }
}

#[rstest]
#[tokio::test]
async fn a_reset_of_one_side_resets_the_other(
    #[values(Kind::Tcp, Kind::Memory)] kind: Kind,
    #[values(true, false)] client_breaks: bool,
) {
    let piped = piped(kind, b"").await;
    let (broken, other) =
        if client_breaks { (piped.client, piped.server) } else { (piped.server, piped.client) };
    broken.reset_on_close();
    drop(broken);
    let expected = if client_breaks { Ending::ClientFailed } else { Ending::UpstreamFailed };
    assert_eq!(ending(piped.pipe).await, expected);
    assert_reset(&other).await;
    let broken = if client_breaks { Direction::Up } else { Direction::Down };
    assert!(!piped.observed.recorded(broken).ended, "a reset is no end");
}

#[rstest]
#[tokio::test]
async fn a_reader_that_does_not_read_holds_its_writer_back(
    #[values(Kind::Tcp, Kind::Memory)] kind: Kind,
) {
    let piped = piped(kind, b"").await;
    let sent = fill(&piped.client).await;
    // All of it arrives once the server reads.
    piped.client.finish().expect("finish");
    assert_eq!(read_to_end(&piped.server).await.len(), sent);
    let observed = piped.observed.recorded(Direction::Up);
    assert_eq!((observed.bytes.len(), observed.ended), (sent, true));
}

#[rstest]
#[tokio::test]
async fn a_client_that_resets_is_let_go_although_the_server_does_not_read(
    #[values(Kind::Tcp, Kind::Memory)] kind: Kind,
) {
    let piped = piped(kind, b"").await;
    fill(&piped.client).await;
    piped.client.reset_on_close();
    drop(piped.client);
    assert_eq!(ending(piped.pipe).await, Ending::ClientFailed);
}

#[rstest]
#[tokio::test]
async fn a_reset_met_by_a_write_is_not_taken_for_an_end(
    #[values(Kind::Tcp, Kind::Memory)] kind: Kind,
) {
    let piped = piped(kind, b"").await;
    // The pipe is in the middle of writing to the server when that resets.
    fill(&piped.client).await;
    piped.server.reset_on_close();
    drop(piped.server);
    assert_eq!(ending(piped.pipe).await, Ending::UpstreamFailed);
    assert_reset(&piped.client).await;
}
