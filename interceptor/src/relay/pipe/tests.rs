//! The pipe between two real pairs of sockets on loopback.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::relay::socket::reset_on_close;

const PATIENCE: Duration = Duration::from_secs(5);

/// A caller and a server with the pipe between them.
struct Piped {
    caller: TcpStream,
    server: TcpStream,
    pipe: JoinHandle<Ending>,
    moved: Arc<[AtomicU64; 2]>,
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener =
        TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("listen");
    let to = listener.local_addr().expect("address");
    let (connected, accepted) = tokio::join!(TcpStream::connect(to), listener.accept());
    (connected.expect("connect"), accepted.expect("accept").0)
}

async fn piped(first: &[u8]) -> Piped {
    let (caller, a) = pair().await;
    let (b, server) = pair().await;
    let moved: Arc<[AtomicU64; 2]> = Arc::default();
    let (first, counters) = (first.to_vec(), Arc::clone(&moved));
    let pipe = tokio::spawn(async move {
        let ending =
            pipe(&a, &b, [first, Vec::new()], [Some(&counters[0]), Some(&counters[1])]).await;
        if ending != Ending::Closed {
            reset_on_close(&a);
            reset_on_close(&b);
        }
        ending
    });
    Piped { caller, server, pipe, moved }
}

async fn ending(pipe: JoinHandle<Ending>) -> Ending {
    timeout(PATIENCE, pipe).await.expect("the pipe ends").expect("without a panic")
}

#[tokio::test]
async fn bytes_go_both_ways_and_are_counted() {
    let mut piped = piped(b"").await;
    piped.caller.write_all(b"question").await.expect("write");
    let mut bytes = [0; 8];
    piped.server.read_exact(&mut bytes).await.expect("read");
    assert_eq!(&bytes, b"question");
    piped.server.write_all(b"ok").await.expect("write");
    piped.caller.read_exact(&mut bytes[..2]).await.expect("read");
    assert_eq!(&bytes[..2], b"ok");
    drop((piped.caller, piped.server));
    assert_eq!(ending(piped.pipe).await, Ending::Closed);
    assert_eq!(piped.moved[0].load(Ordering::Relaxed), 8);
    assert_eq!(piped.moved[1].load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_is_to_come_first_comes_first() {
    let mut piped = piped(b"header ").await;
    piped.caller.write_all(b"body").await.expect("write");
    piped.caller.shutdown().await.expect("shutdown");
    let mut all = String::new();
    piped.server.read_to_string(&mut all).await.expect("read");
    assert_eq!(all, "header body");
}

#[tokio::test]
async fn a_direction_ends_by_itself() {
    let mut piped = piped(b"").await;
    piped.caller.write_all(b"all of it").await.expect("write");
    piped.caller.shutdown().await.expect("shutdown");
    let mut question = String::new();
    piped.server.read_to_string(&mut question).await.expect("EOF reaches the server");
    assert_eq!(question, "all of it");
    piped.server.write_all(b"still open this way").await.expect("write");
    piped.server.shutdown().await.expect("shutdown");
    let mut answer = String::new();
    piped.caller.read_to_string(&mut answer).await.expect("EOF reaches the caller");
    assert_eq!(answer, "still open this way");
    assert_eq!(ending(piped.pipe).await, Ending::Closed);
}

#[tokio::test]
async fn a_fin_right_behind_the_last_bytes_is_not_lost() {
    for _ in 0..200 {
        let mut piped = piped(b"").await;
        piped.caller.write_all(b"x").await.expect("write");
        drop(piped.caller);
        let mut all = Vec::new();
        timeout(PATIENCE, piped.server.read_to_end(&mut all))
            .await
            .expect("EOF arrives")
            .expect("read");
        assert_eq!(all, b"x");
    }
}

#[tokio::test]
async fn a_reset_of_one_side_resets_the_other() {
    for caller_breaks in [true, false] {
        let piped = piped(b"").await;
        let (broken, mut other) =
            if caller_breaks { (piped.caller, piped.server) } else { (piped.server, piped.caller) };
        SockRef::from(&broken).set_linger(Some(Duration::ZERO)).expect("linger");
        drop(broken);
        let expected = if caller_breaks { Ending::ABroke } else { Ending::BBroke };
        assert_eq!(ending(piped.pipe).await, expected);
        let error = other.read(&mut [0; 8]).await.expect_err("a reset, not an end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_its_writer_back() {
    let mut piped = piped(b"").await;
    let chunk = vec![7; 1 << 20];
    let mut sent = 0;
    while let Ok(written) = timeout(Duration::from_millis(300), piped.caller.write(&chunk)).await {
        sent += written.expect("write");
        assert!(sent < 64 << 20, "nothing holds the writer back");
    }
    // All of it arrives once somebody reads.
    piped.caller.shutdown().await.expect("shutdown");
    let mut received = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match piped.server.read(&mut buffer).await.expect("read") {
            0 => break,
            n => received += n,
        }
    }
    assert_eq!(received, sent);
}

#[tokio::test]
async fn a_caller_that_breaks_off_is_let_go_though_nobody_takes_its_bytes() {
    let mut piped = piped(b"").await;
    let chunk = vec![7; 1 << 20];
    while timeout(Duration::from_millis(300), piped.caller.write(&chunk)).await.is_ok() {}
    SockRef::from(&piped.caller).set_linger(Some(Duration::ZERO)).expect("linger");
    drop(piped.caller);
    assert_eq!(ending(piped.pipe).await, Ending::ABroke);
}

#[tokio::test]
async fn a_reset_that_a_write_meets_is_not_taken_for_an_end() {
    let piped = piped(b"").await;
    let chunk = vec![7; 1 << 20];
    // The pipe is in the middle of writing to the server when that breaks off.
    while timeout(Duration::from_millis(300), piped.caller.writable()).await.is_ok() {
        let _ = piped.caller.try_write(&chunk);
    }
    SockRef::from(&piped.server).set_linger(Some(Duration::ZERO)).expect("linger");
    drop(piped.server);
    assert_eq!(ending(piped.pipe).await, Ending::BBroke);
    let error = piped.caller.readable().await.and_then(|()| piped.caller.try_read(&mut [0; 8]));
    assert_eq!(error.expect_err("a reset, not an end").kind(), io::ErrorKind::ConnectionReset);
}
