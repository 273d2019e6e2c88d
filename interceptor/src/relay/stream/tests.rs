//! An end in memory behaves as a TCP socket on loopback.

use rstest::rstest;

use super::{
    testing::{Kind, fill, read_to_end},
    *,
};

#[rstest]
#[tokio::test]
async fn a_finished_side_still_reads(#[values(Kind::Tcp, Kind::Memory)] kind: Kind) {
    let (a, b) = kind.pair().await;
    a.write_all(b"question").await.expect("write");
    a.finish().expect("finish");
    assert_eq!(read_to_end(&b).await, b"question");
    b.write_all(b"answer").await.expect("write");
    drop(b);
    assert_eq!(read_to_end(&a).await, b"answer");
}

#[rstest]
#[tokio::test]
async fn a_stream_is_idle_until_the_peer_sends_or_ends(
    #[values(Kind::Tcp, Kind::Memory)] kind: Kind,
) {
    let (a, b) = kind.pair().await;
    assert!(a.is_idle());
    b.write_all(b"hello").await.expect("write");
    assert_eq!(a.peek(2, <[u8]>::to_vec).await.expect("peek"), b"he");
    assert!(!a.is_idle());
    let mut read = Vec::with_capacity(64);
    a.read_now(&mut read, 64).expect("read");
    assert_eq!(read, b"hello");
    assert!(a.is_idle());
    drop(b);
    assert_eq!(a.peek(2, <[u8]>::to_vec).await.expect("peek"), b"");
    assert!(!a.is_idle());
}

#[rstest]
#[tokio::test]
async fn a_reset_is_reported_once_and_then_looks_like_an_end(
    #[values(Kind::Tcp, Kind::Memory)] kind: Kind,
) {
    let (a, b) = kind.pair().await;
    b.reset_on_close();
    drop(b);
    a.failed().await;
    let error = a.read_more(&mut Vec::new()).await.expect_err("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(a.read_more(&mut Vec::new()).await.expect("an end"), 0);
    let error = a.write_all(b"x").await.expect_err("no peer");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    a.finish().expect("a peer that is gone is no error");
}

#[rstest]
#[tokio::test]
async fn bytes_that_no_call_reads_make_a_close_a_reset(
    #[values(Kind::Tcp, Kind::Memory)] kind: Kind,
) {
    let (a, b) = kind.pair().await;
    a.write_all(b"unread").await.expect("write");
    b.peek(1, |_| ()).await.expect("peek");
    drop(b);
    let error = a.read_more(&mut Vec::new()).await.expect_err("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[rstest]
#[tokio::test]
async fn a_send_queue_is_drained_by_a_reader_and_given_up_without(
    #[values(Kind::Tcp, Kind::Memory)] kind: Kind,
) {
    let (a, b) = kind.pair().await;
    let sent = fill(&a).await;
    assert!(a.unacknowledged() > 0);
    let begun = Instant::now();
    a.drained().await;
    assert!(begun.elapsed() >= NO_PROGRESS, "the reader might have read still");
    let reader = tokio::spawn(async move {
        let mut received = Vec::new();
        while received.len() < sent {
            b.read_more(&mut received).await.expect("read");
        }
        b
    });
    a.drained().await;
    assert_eq!(a.unacknowledged(), 0);
    drop(reader.await.expect("no panic"));
}

#[rstest]
#[tokio::test]
async fn a_lingering_close_lets_the_peer_read_all(#[values(Kind::Tcp, Kind::Memory)] kind: Kind) {
    let (a, b) = kind.pair().await;
    b.write_all(b"unread").await.expect("write");
    a.write_all(b"response").await.expect("write");
    let closed = tokio::spawn(async move { a.linger().await });
    assert_eq!(read_to_end(&b).await, b"response");
    drop(b);
    closed.await.expect("no panic");
}

/// The kernel keeps them for the FIN, so that both arrive together.
#[tokio::test]
async fn the_last_bytes_travel_with_the_fin() {
    let (a, b) = Kind::Tcp.pair().await;
    let written = poll_fn(|cx| a.poll_write_last(cx, b"the end")).await.expect("writes");
    assert_eq!(written, 7);
    assert!(b.is_idle(), "they have arrived alone");
    a.finish().expect("finishes");
    let mut got = Vec::new();
    assert_eq!(b.read_more(&mut got).await.expect("reads"), 7);
    assert_eq!(b.read_more(&mut got).await.expect("reads"), 0);
    assert_eq!(got, b"the end");
}
