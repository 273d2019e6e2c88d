//! HTTP/2 on a port whose rule looks at requests: each stream goes where it is wanted, and nobody notices more than that.

#[path = "http2/garbage.rs"]
mod garbage;
#[path = "http2/raw.rs"]
mod raw;
#[path = "http2/seldom.rs"]
mod seldom;
#[path = "http2/server.rs"]
mod server;
#[path = "http2/street.rs"]
mod street;

use std::{
    future::poll_fn,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use h2::{Reason, client};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use rstest::rstest;
use testbed::{Daemon, wait_until};
use tokio::time::{sleep, timeout};

use self::{
    server::{Server, pattern, read_all, send_all},
    street::{answer, calling, head, street_test},
};

const SOON: Duration = Duration::from_secs(5);
const MIB: usize = 1 << 20;

#[test]
fn streams_of_one_connection_go_where_the_rule_says() {
    street_test("h2-streams", |s| {
        let (app, dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            let mut call = s.call().await?;
            for n in 0..20 {
                let is_debug = n % 3 == 1;
                let answer = call.get("/who", is_debug).await?;
                assert_eq!(answer.text, if is_debug { "laptop" } else { "app" }, "{n}");
                assert_eq!(answer.tag(), answer.text);
            }
            Ok(())
        })?;
        assert_eq!((app.seen.connections(), dev.seen.connections()), (1, 1));
        assert_eq!((app.seen.requests().len(), dev.seen.requests().len()), (13, 7));
        Ok(())
    });
}

#[test]
fn content_and_trailers_pass_both_ways() {
    street_test("h2-content", |s| {
        let (_app, _dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            let mut call = s.call().await?;
            for is_debug in [false, true] {
                let mut request = head("/echo", is_debug);
                *request.method_mut() = Method::POST;
                let (response, mut up) = call.open(request, false).await?;
                up.send_data(Bytes::from_static(b"a question"), false)?;
                let mut trailers = HeaderMap::new();
                trailers.insert("mine", HeaderValue::from_static("too"));
                up.send_trailers(trailers)?;
                let answer = answer(response).await?;
                assert_eq!(answer.text, "a question");
                let trailers = answer.trailers.expect("trailers");
                assert_eq!(
                    (&trailers["mine"], &trailers["count"]),
                    (&"too".parse()?, &"10".parse()?)
                );
            }
            Ok(())
        })
    });
}

#[test]
fn a_server_that_answers_before_the_request_is_complete_is_heard_at_once() {
    street_test("h2-bidi", |s| {
        let (_app, _dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            let mut call = s.call().await?;
            let mut open = Vec::new();
            for is_debug in [false, true, false] {
                let (response, up) = call.open(head("/echo", is_debug), false).await?;
                open.push((response.await?.into_body(), up));
            }
            // Interleaved, each waiting for its answer.
            for n in 0..50_u32 {
                for (stream, (down, up)) in open.iter_mut().enumerate() {
                    let said = Bytes::from(format!("{stream}: {n}"));
                    up.send_data(said.clone(), false)?;
                    let heard = down.data().await.context("the end")??;
                    down.flow_control().release_capacity(heard.len())?;
                    assert_eq!(heard, said);
                }
            }
            for (mut down, mut up) in open {
                up.send_data(Bytes::new(), true)?;
                ensure!(down.data().await.is_none());
                assert!(down.trailers().await?.is_some());
            }
            Ok(())
        })
    });
}

#[test]
fn large_bodies_arrive_whole_beside_each_other() {
    street_test("h2-large", |s| {
        let (_app, _dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            const SIZE: usize = 8 * MIB + 12_345;
            let call = s.call().await?;
            let uploads = [false, true].map(|is_debug| {
                let mut call = call.again();
                async move {
                    let body = pattern(SIZE);
                    let expected = checksum(&body);
                    let answer = call.post("/sink", is_debug, body).await?;
                    ensure!(
                        answer.text == format!("{} {SIZE} {expected}", answer.tag()),
                        "{}",
                        answer.text
                    );
                    Ok::<_, anyhow::Error>(answer.tag().to_owned())
                }
            });
            let downloads = [false, true].map(|is_debug| {
                let mut call = call.again();
                async move {
                    let (response, _) =
                        call.open(head(&format!("/source/{SIZE}"), is_debug), true).await?;
                    let (count, _) = read_all(response.await?.body_mut()).await?;
                    ensure!(count == SIZE, "{count}");
                    Ok::<_, anyhow::Error>(())
                }
            });
            let (tags, _) = tokio::try_join!(try_join_all(uploads), try_join_all(downloads))?;
            assert_eq!(tags, ["app", "laptop"]);
            Ok(())
        })
    });
}

#[rstest]
#[case::by_the_server("reset", true)]
#[case::by_the_server_late("reset-late", true)]
#[case::by_the_caller("stuck", false)]
#[case::by_the_caller_before_a_response("silent", false)]
fn the_code_of_a_reset_reaches_the_other_side(#[case] path: &str, #[case] is_servers: bool) {
    street_test("h2-reset", |s| {
        let (app, dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        let codes = [
            Reason::CANCEL,
            Reason::ENHANCE_YOUR_CALM,
            Reason::INTERNAL_ERROR,
            Reason::NO_ERROR,
            77.into(),
        ];
        calling(async {
            let mut call = s.call().await?;
            for is_debug in [false, true] {
                for code in codes {
                    let path = format!("/{path}/{}", u32::from(code));
                    let (response, mut up) = call.open(head(&path, is_debug), false).await?;
                    if is_servers {
                        let met = match response.await {
                            Ok(mut response) => {
                                let said =
                                    response.body_mut().data().await.context("no data")??;
                                ensure!(said == "some", "{said:?}");
                                let end = response.body_mut().data().await.context("no end")?;
                                end.err().context("no reset")?
                            }
                            Err(error) => error,
                        };
                        ensure!(
                            met.is_reset() && met.reason() == Some(code),
                            "{met} instead of {code:?}"
                        );
                    } else {
                        let seen = if is_debug { &dev.seen } else { &app.seen };
                        let before = seen.requests().len();
                        while seen.requests().len() == before {
                            sleep(Duration::from_millis(2)).await;
                        }
                        up.send_reset(code);
                        while seen.resets().last() != Some(&code) {
                            sleep(Duration::from_millis(2)).await;
                        }
                        drop(response);
                    }
                }
                // The connection is as before.
                assert_eq!(
                    call.get("/who", is_debug).await?.text,
                    if is_debug { "laptop" } else { "app" }
                );
            }
            Ok(())
        })?;
        assert_eq!((app.seen.connections(), dev.seen.connections()), (1, 1));
        Ok(())
    });
}

#[test]
fn a_response_may_be_complete_before_its_request() {
    street_test("h2-early", |s| {
        let (_app, _dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            let mut call = s.call().await?;
            for is_debug in [false, true] {
                let (response, mut up) = call.open(head("/early", is_debug), false).await?;
                let answer = answer(response).await?;
                assert_eq!(answer.text, answer.tag());
                // The server has no use for the rest (RFC 9113, section 8.1).
                let reason = poll_fn(|cx| up.poll_reset(cx)).await?;
                assert_eq!(reason, Reason::NO_ERROR);
            }
            Ok(())
        })
    });
}

#[test]
fn interim_responses_pass() {
    street_test("h2-interim", |s| {
        let (_app, _dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            let mut call = s.call().await?;
            for is_debug in [false, true] {
                let (mut response, _) = call.open(head("/hints", is_debug), true).await?;
                for n in 0..2 {
                    let hints = poll_fn(|cx| response.poll_informational(cx))
                        .await
                        .context("no hints")??;
                    assert_eq!(
                        (hints.status().as_u16(), &hints.headers()["link"]),
                        (103, &HeaderValue::from(n))
                    );
                }
                assert_eq!(response.await?.status(), 200);
            }
            Ok(())
        })
    });
}

#[test]
fn heads_arrive_as_they_were_sent() {
    street_test("h2-heads", |s| {
        let (app, dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            let mut call = s.call().await?;
            for is_debug in [false, true] {
                let user = if is_debug { "debug" } else { "somebody" };
                let request = Request::builder()
                    .method("PROPFIND")
                    .uri("https://user@web.example:8443/a%20b/../c?d=/&e=%ff")
                    .header("cookie", "a=1")
                    .header("cookie", "b=2")
                    .header("x-many", "first")
                    .header("x-many", "second")
                    .header("x-bytes", HeaderValue::from_bytes(b"\xe9\xff")?)
                    .header("te", "trailers")
                    .header("authorization", "hidden")
                    .header("x-user", user)
                    .body(())?;
                let (response, _) = call.open(request.clone(), true).await?;
                answer(response).await?;
                let seen = if is_debug { &dev.seen } else { &app.seen };
                let seen = seen.requests().pop().context("no request")?;
                assert_eq!(seen.method(), request.method());
                assert_eq!(seen.uri(), request.uri());
                assert_eq!(seen.headers(), request.headers());

                // Without `:authority`, as from an HTTP/1 caller behind a proxy.
                let by_host =
                    Request::get("/who").version(Version::HTTP_11).header("host", "by.host");
                let (response, _) =
                    call.open(by_host.header("x-user", user).body(())?, true).await?;
                answer(response).await?;
                let seen = if is_debug { &dev.seen } else { &app.seen };
                let seen = seen.requests().pop().context("no request")?;
                assert_eq!(
                    (seen.uri().to_string(), &seen.headers()["host"]),
                    ("/who".to_owned(), &"by.host".parse()?)
                );

                let connect = Request::connect("db:5432").header("x-user", user).body(())?;
                let (response, mut up) = call.open(connect, false).await?;
                up.send_data("through".into(), true)?;
                answer(response).await?;
                let seen = if is_debug { &dev.seen } else { &app.seen };
                let seen = seen.requests().pop().context("no request")?;
                assert_eq!(
                    (seen.method(), seen.uri().to_string()),
                    (&Method::CONNECT, "db:5432".to_owned())
                );
            }
            Ok(())
        })
    });
}

// --- conditions -----------------------------------------------------------------------------------------------------

#[rstest]
#[case("request.headers['cookie'] == 'a=1; b=2'")]
#[case("request.headers['x-many'] == 'first,second'")]
#[case("request.host == 'web.example:81' && request.scheme == 'http'")]
#[case("request.path == '/who?a=b' && request.url_path == '/who' && request.query == 'a=b'")]
#[case("request.protocol == 'HTTP/2' && request.method == 'POST'")]
fn conditions_see_what_there_is(#[case] condition: &str) {
    street_test("h2-when", |s| {
        let (_app, _dev) = (s.app()?, s.dev()?);
        let _daemon =
            s.daemon_with(&format!("8080 -> {}:3000 when {condition}", s.laptop.ip4()))?;
        calling(async {
            let mut call = s.call().await?;
            let request = Request::post("http://web.example:81/who?a=b")
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .header("x-many", "first")
                .header("x-many", "second")
                .body(())?;
            let (response, _) = call.open(request, true).await?;
            assert_eq!(answer(response).await?.text, "laptop");
            let other = Request::get("http://web/other").header("cookie", "a=1").body(())?;
            let (response, _) = call.open(other, true).await?;
            assert_eq!(answer(response).await?.text, "app");
            Ok(())
        })
    });
}

// --- who gives way to whom ------------------------------------------------------------------------------------------

#[test]
fn a_target_that_does_not_read_holds_up_its_own_streams_only() {
    street_test("h2-stuck", |s| {
        let (_app, _dev, daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            let mut call = s.call().await?;
            let before = daemon.rss_kib()?;
            let mut stuck = Vec::new();
            // More of them than the window of a connection has room for.
            for _ in 0..40 {
                let (response, mut up) = call.open(head("/stuck", true), false).await?;
                let body = response.await?.into_body();
                let sending = tokio::spawn(async move {
                    let sent = send_all(&mut up, pattern(MIB), true).await;
                    (sent, body)
                });
                stuck.push(sending);
            }
            sleep(Duration::from_millis(500)).await;
            let body = pattern(MIB);
            let expected = format!("app {MIB} {}", checksum(&body));
            for _ in 0..10 {
                let started = Instant::now();
                assert_eq!(call.get("/who", false).await?.text, "app");
                assert_eq!(call.post("/sink", false, body.clone()).await?.text, expected);
                ensure!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
            }
            assert!(stuck.iter().all(|sending| !sending.is_finished()));
            let grown = daemon.rss_kib()?.saturating_sub(before);
            ensure!(grown < 24 << 10, "{grown} KiB for 40 streams of 64 KiB");
            Ok(())
        })
    });
}

#[test]
fn a_caller_who_does_not_read_a_response_holds_up_that_stream_only() {
    street_test("h2-slow", |s| {
        let (_app, _dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            let mut builder = client::Builder::new();
            builder.initial_connection_window_size(64 << 20);
            let mut call = s.call_with(&builder).await?;
            let mut unread = Vec::new();
            for n in 0..60 {
                let (response, _) =
                    call.open(head(&format!("/source/{MIB}"), n % 2 == 0), true).await?;
                unread.push(response.await?.into_body());
            }
            sleep(Duration::from_millis(300)).await;
            for is_debug in [false, true] {
                let (response, _) =
                    call.open(head(&format!("/source/{MIB}"), is_debug), true).await?;
                assert_eq!(read_all(response.await?.body_mut()).await?.0, MIB);
            }
            for mut body in unread {
                assert_eq!(read_all(&mut body).await?.0, MIB);
            }
            Ok(())
        })
    });
}

#[test]
fn the_number_of_streams_that_the_app_allows_is_what_the_caller_may_open() {
    street_test("h2-max", |s| {
        let _app = Server::adapted(&s.pod, 8080, "app", |builder| {
            builder.max_concurrent_streams(7).initial_window_size(100_000).max_frame_size(20_000);
        })?;
        let (_dev, _daemon) = (s.dev()?, s.daemon()?);
        calling(async {
            let mut call = s.call().await?;
            call.get("/who", false).await?;
            assert_eq!(call.sender.current_max_send_streams(), 7);
            // As many again as are let in: the rest wait in line and none is refused.
            let all = (0..50).map(|n| {
                let mut call = call.again();
                async move { call.get("/who", n % 2 == 0).await }
            });
            assert_eq!(try_join_all(all).await?.len(), 50);

            let (response, mut up) = call.open(head("/stuck", false), false).await?;
            response.await?;
            up.reserve_capacity(MIB);
            let window = poll_fn(|cx| up.poll_capacity(cx)).await.context("closed")??;
            assert_eq!(window, 100_000);
            Ok(())
        })
    });
}

// --- ends -----------------------------------------------------------------------------------------------------------

#[test]
fn a_target_that_dies_takes_its_own_streams_along_only() {
    street_test("h2-dev-dies", |s| {
        let (app, dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            let mut call = s.call().await?;
            let (response, mut up) = call.open(head("/echo", false), false).await?;
            let mut ours = response.await?.into_body();
            let (response, _up) = call.open(head("/stuck", true), false).await?;
            let mut theirs = response.await?.into_body();
            let (unanswered, _unanswered_up) = call.open(head("/silent", true), false).await?;
            while dev.seen.requests().len() < 2 {
                sleep(Duration::from_millis(2)).await;
            }
            dev.die();
            let reset = theirs.data().await.context("an end in order")?.err().context("data")?;
            assert_eq!((reset.is_reset(), reset.reason()), (true, Some(Reason::INTERNAL_ERROR)));
            let reset = unanswered.await.err().context("a response")?;
            assert_eq!((reset.is_reset(), reset.reason()), (true, Some(Reason::INTERNAL_ERROR)));

            up.send_data("still here".into(), true)?;
            assert_eq!(ours.data().await.context("the end")??, "still here");
            assert_eq!(
                call.get("/who", true).await?.text,
                "app",
                "nobody listens there: the app serves"
            );
            let _dev = s.dev()?;
            assert_eq!(call.get("/who", true).await?.text, "laptop", "back again");
            Ok(())
        })?;
        assert_eq!(app.seen.connections(), 1);
        Ok(())
    });
}

#[test]
fn an_app_that_dies_leaves_the_streams_of_a_target_alone() {
    street_test("h2-app-dies", |s| {
        let (app, _dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            let mut call = s.call().await?;
            let (response, mut up) = call.open(head("/echo", true), false).await?;
            let mut theirs = response.await?.into_body();
            let (response, _up) = call.open(head("/stuck", false), false).await?;
            let mut ours = response.await?.into_body();
            app.die();
            let reset = ours.data().await.context("an end in order")?.err().context("data")?;
            assert_eq!((reset.is_reset(), reset.reason()), (true, Some(Reason::INTERNAL_ERROR)));

            for n in 0..5 {
                up.send_data(Bytes::from(format!("{n}")), false)?;
                let heard = theirs.data().await.context("the end")??;
                theirs.flow_control().release_capacity(heard.len())?;
                assert_eq!(heard, format!("{n}"));
                sleep(Duration::from_millis(20)).await;
            }
            up.send_data(Bytes::new(), true)?;
            ensure!(theirs.data().await.is_none());
            assert!(theirs.trailers().await?.is_some());
            // And then his connection has no server any more.
            timeout(SOON, call.connection)
                .await
                .context("it stays open")??
                .context("not in order")?;
            Ok(())
        })
    });
}

#[test]
fn without_streams_of_a_target_an_app_that_dies_is_seen_to_die() {
    street_test("h2-app-dies-alone", |s| {
        let (app, _dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            let mut call = s.call().await?;
            assert_eq!(call.get("/who", true).await?.text, "laptop");
            let (response, _up) = call.open(head("/stuck", false), false).await?;
            let mut ours = response.await?.into_body();
            app.die();
            // A connection that ends: no word of a stream, as nobody says one when a server dies.
            let end = ours.data().await.context("an end in order")?.err().context("data")?;
            assert!(end.is_io(), "{end:?}");
            timeout(SOON, call.connection).await.context("it stays open")??.ok();
            Ok(())
        })
    });
}

#[rstest]
#[case::the_app(false)]
#[case::the_target(true)]
fn who_asks_for_no_more_streams_gets_none(#[case] is_target: bool) {
    street_test("h2-goaway", |s| {
        let (app, dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            let mut call = s.call().await?;
            let (response, mut up) = call.open(head("/echo", is_target), false).await?;
            let mut body = response.await?.into_body();
            (if is_target { &dev } else { &app }).go_away();
            up.send_data("finish".into(), false)?;
            assert_eq!(body.data().await.context("the end")??, "finish");
            if is_target {
                // Another connection to the same, as soon as it is known.
                let again = async {
                    while dev.seen.connections() < 2 {
                        assert_eq!(call.get("/who", true).await?.text, "laptop");
                    }
                    anyhow::Ok(())
                };
                timeout(SOON, again).await.context("still on the first connection")??;
            } else {
                let refused = async {
                    loop {
                        match call.get("/who", false).await {
                            Ok(answer) => assert_eq!(answer.text, "app"),
                            Err(refused) => return refused,
                        }
                    }
                };
                let refused = timeout(SOON, refused).await.context("not told")?;
                ensure!(
                    refused.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_go_away),
                    "{refused:?}"
                );
            }
            up.send_data(Bytes::new(), true)?;
            ensure!(body.data().await.is_none());
            assert!(body.trailers().await?.is_some());
            if is_target {
                assert_eq!(call.get("/who", false).await?.text, "app");
            } else {
                timeout(SOON, call.connection).await.context("it stays open")???;
            }
            Ok(())
        })
    });
}

#[rstest]
#[case::refuses(true)]
#[case::is_silent(false)]
fn a_target_that_can_not_be_reached_leaves_its_streams_to_the_app(#[case] refuses: bool) {
    street_test("h2-unreachable", |s| {
        let (_app, daemon) = (s.app()?, s.daemon()?);
        // Accepts by the kernel alone, as somebody who is stopped at a breakpoint.
        let listener = s.laptop.run(|| TcpListener::bind(("0.0.0.0", 3000)))?;
        if refuses {
            drop(listener);
        }
        calling(async {
            let mut call = s.call().await?;
            let mut others = call.again();
            let waiting = async { call.post("/sink", true, pattern(MIB)).await };
            let passing = async {
                // Nobody else waits for him.
                let started = Instant::now();
                for _ in 0..5 {
                    assert_eq!(others.get("/who", false).await?.text, "app");
                }
                Ok(started.elapsed())
            };
            let (waited, passed) = tokio::try_join!(waiting, passing)?;
            assert!(waited.text.starts_with(&format!("app {MIB} ")), "{}", waited.text);
            ensure!(passed < Duration::from_millis(500), "{passed:?}");
            Ok(())
        })?;
        no_panic(&daemon)
    });
}

// --- others ---------------------------------------------------------------------------------------------------------

#[rstest]
#[case::answers_the_preface(24)]
#[case::waits_for_more_than_the_first_frame(45)]
fn an_app_that_speaks_no_http2_sees_and_is_seen_as_without_us(#[case] enough: usize) {
    street_test("h2-other", |s| {
        let said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\xff\xff\0\0\x04\x08\0\0\0\0\0\0\0\x10\0and more";
        let answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
        let listener = s.pod.run(|| TcpListener::bind(("0.0.0.0", 8080)))?;
        let app = std::thread::spawn(move || -> Result<Vec<u8>> {
            let (mut stream, _) = listener.accept()?;
            let mut heard = vec![0; enough];
            stream.read_exact(&mut heard)?;
            stream.write_all(answer)?;
            stream.read_to_end(&mut heard)?;
            Ok(heard)
        });
        let (_dev, daemon) = (s.dev()?, s.daemon()?);
        let mut stream = s.tcp()?;
        stream.write_all(said)?;
        let mut heard = vec![0; answer.len()];
        stream.read_exact(&mut heard)?;
        assert_eq!(heard, answer);
        stream.write_all(b" behind it")?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let heard = app.join().expect("no panic")?;
        assert_eq!(heard, [&said[..], b" behind it"].concat());
        drop(daemon);
        Ok(())
    });
}

#[test]
fn a_server_that_opens_http2_before_the_caller_speaks_is_no_reason_for_a_pipe() {
    street_test("h2-first", |s| {
        // This crate's server sends its SETTINGS when it accepts.
        let (_app, _dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        let stream = s.tcp()?;
        std::thread::sleep(Duration::from_millis(200));
        stream.set_nonblocking(true)?;
        calling(async {
            let stream = tokio::net::TcpStream::from_std(stream)?;
            let (mut sender, connection) =
                client::Builder::new().handshake::<_, Bytes>(stream).await?;
            tokio::spawn(connection);
            let (response, _) = sender.send_request(head("/who", true), true)?;
            assert_eq!(answer(response).await?.text, "laptop");
            Ok(())
        })
    });
}

#[test]
fn curl_gets_what_is_wanted() {
    street_test("h2-curl", |s| {
        let (_app, _dev, _daemon) = (s.app()?, s.dev()?, s.daemon()?);
        let curl = |path: &str, more: &[&str]| {
            let url = format!("http://{}:8080{path}", s.pod.ip4());
            let mut command = s.client.command("curl");
            command.args([
                "-sS",
                "--max-time",
                "5",
                "--http2-prior-knowledge",
                "-w",
                " %{http_version}",
            ]);
            output(command.args(more).arg(url))
        };
        assert_eq!(curl("/who", &[])?, "app 2");
        assert_eq!(curl("/who", &["-H", "X-User: debug"])?, "laptop 2");
        let sum = checksum(b"content");
        let uploaded = curl("/sink", &["-H", "X-User: debug", "-d", "content"])?;
        assert_eq!(uploaded, format!("laptop 7 {sum} 2"));
        Ok(())
    });
}

#[test]
fn h2load_finds_no_error_while_others_are_taken() {
    street_test("h2-load", |s| {
        let (_app, dev, daemon) = (s.app()?, s.dev()?, s.daemon()?);
        let url = format!("http://{}:8080/who", s.pod.ip4());
        let mut command = s.client.command("h2load");
        command.args(["-n", "20000", "-c", "20", "-m", "10"]).arg(&url);
        let load = std::thread::spawn(move || output(&mut command));
        calling(async {
            while !load.is_finished() {
                let mut call = s.call().await?;
                for n in 0..20 {
                    let is_debug = n % 2 == 0;
                    let answer = call.get("/who", is_debug).await?;
                    assert_eq!(answer.text, if is_debug { "laptop" } else { "app" });
                }
            }
            Ok(())
        })?;
        let report = load.join().expect("no panic")?;
        ensure!(report.contains("20000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
        assert!(dev.seen.requests().iter().all(|request| request.headers()["x-user"] == "debug"));
        no_panic(&daemon)
    });
}

/// Floods are stopped, and meanwhile and afterwards others are served.
#[test]
fn a_caller_who_resets_streams_as_fast_as_he_opens_them_harms_nobody() {
    street_test("h2-rapid-reset", |s| {
        let (_app, _dev, daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            let before = daemon.rss_kib()?;
            let mut other = s.call().await?;
            for _ in 0..10 {
                let mut call = s.call().await?;
                for n in 0..2000 {
                    let Ok((response, mut up)) =
                        call.open(head("/silent", n % 2 == 0), false).await
                    else {
                        break;
                    };
                    up.send_reset(Reason::CANCEL);
                    drop(response);
                    if n % 50 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                let started = Instant::now();
                assert_eq!(other.get("/who", false).await?.text, "app");
                ensure!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
            }
            let grown = daemon.rss_kib()?.saturating_sub(before);
            ensure!(grown < 64 << 10, "{grown} KiB");
            Ok(())
        })?;
        no_panic(&daemon)
    });
}

#[test]
fn idle_connections_cost_little() {
    street_test("h2-idle", |s| {
        const CONNECTIONS: u64 = 200;
        let (_app, _dev, daemon) = (s.app()?, s.dev()?, s.daemon()?);
        calling(async {
            // What the daemon needs once.
            let mut calls = vec![s.call().await?];
            calls[0].get("/who", false).await?;
            let before = daemon.rss_kib()?;
            for _ in 0..CONNECTIONS {
                let mut call = s.call().await?;
                assert_eq!(call.get("/who", false).await?.text, "app");
                calls.push(call);
            }
            let each = daemon.rss_kib()?.saturating_sub(before) as f64 / CONNECTIONS as f64;
            println!("{each:.1} KiB for an idle connection");
            ensure!(each < 128.0, "{each} KiB for an idle connection");
            Ok(())
        })
    });
}

// --- helpers --------------------------------------------------------------------------------------------------------

/// As [`read_all`] makes it.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

/// What a program printed; it should succeed.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn no_panic(daemon: &Daemon) -> Result<()> {
    wait_until("the end of connections", SOON, || daemon.state().is_ok())?;
    let logs = daemon.logs();
    ensure!(!logs.contains("panicked"), "{logs}");
    Ok(())
}
