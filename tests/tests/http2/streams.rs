//! Requests, responses, trailers and resets pass a stream unchanged.

use std::{future::poll_fn, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use interceptor_tests::{block_on, pattern};
use rstest::rstest;
use testbed::Checksum;
use tokio::time::sleep;

use crate::{
    MIB,
    fixture::{read_response, request, run},
    server::read_all,
};

#[test]
fn content_and_trailers_pass_in_both_directions() {
    run("h2-content", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            for is_debug in [false, true] {
                let mut request = request("/echo", is_debug);
                *request.method_mut() = Method::POST;
                let (response, mut up) = client.open(request, false).await?;
                up.send_data(Bytes::from_static(b"a request"), false)?;
                let mut trailers = HeaderMap::new();
                trailers.insert("mine", HeaderValue::from_static("value"));
                up.send_trailers(trailers)?;
                let response = read_response(response).await?;
                assert_eq!(response.text, "a request");
                let trailers = response.trailers.expect("trailers");
                assert_eq!(
                    (&trailers["mine"], &trailers["count"]),
                    (&"value".parse()?, &"9".parse()?)
                );
            }
            Ok(())
        })
    });
}

#[test]
fn data_of_an_incomplete_request_is_answered_at_once() {
    run("h2-bidi", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            let mut open = Vec::new();
            for is_debug in [false, true, false] {
                let (response, up) = client.open(request("/echo", is_debug), false).await?;
                open.push((response.await?.into_body(), up));
            }
            // Interleaved: each message waits for its echo.
            for n in 0..50_u32 {
                for (stream, (down, up)) in open.iter_mut().enumerate() {
                    let sent = Bytes::from(format!("{stream}: {n}"));
                    up.send_data(sent.clone(), false)?;
                    let received = down.data().await.context("the end")??;
                    down.flow_control().release_capacity(received.len())?;
                    assert_eq!(received, sent);
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
fn large_bodies_of_concurrent_streams_arrive_whole() {
    run("h2-large", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            const SIZE: usize = 8 * MIB + 12_345;
            let client = f.connect().await?;
            let uploads = [false, true].map(|is_debug| {
                let mut client = client.share();
                async move {
                    let body = pattern(SIZE);
                    let expected = Checksum::of(&body);
                    let response = client.post("/sink", is_debug, body).await?;
                    ensure!(
                        response.text == format!("{} {expected}", response.tag()),
                        "{}",
                        response.text
                    );
                    Ok::<_, anyhow::Error>(response.tag().to_owned())
                }
            });
            let downloads = [false, true].map(|is_debug| {
                let mut client = client.share();
                async move {
                    let (response, _) =
                        client.open(request(&format!("/source/{SIZE}"), is_debug), true).await?;
                    let sum = read_all(response.await?.body_mut()).await?;
                    ensure!(sum.bytes == SIZE as u64, "{sum}");
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
#[case::by_the_client("stuck", false)]
#[case::by_the_client_before_a_response("silent", false)]
fn the_code_of_a_reset_reaches_the_other_side(#[case] path: &str, #[case] by_server: bool) {
    run("h2-reset", |f| {
        let (app, target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        let codes = [
            Reason::CANCEL,
            Reason::ENHANCE_YOUR_CALM,
            Reason::INTERNAL_ERROR,
            Reason::NO_ERROR,
            77.into(),
        ];
        block_on(async {
            let mut client = f.connect().await?;
            for is_debug in [false, true] {
                for code in codes {
                    let path = format!("/{path}/{}", u32::from(code));
                    let (response, mut up) = client.open(request(&path, is_debug), false).await?;
                    if by_server {
                        let error = match response.await {
                            Ok(mut response) => {
                                let sent =
                                    response.body_mut().data().await.context("no data")??;
                                ensure!(sent == "some", "{sent:?}");
                                let end = response.body_mut().data().await.context("no end")?;
                                end.err().context("no reset")?
                            }
                            Err(error) => error,
                        };
                        ensure!(
                            error.is_reset() && error.reason() == Some(code),
                            "expected {code:?}, got {error}"
                        );
                    } else {
                        let record = if is_debug { &target.record } else { &app.record };
                        let before = record.requests().len();
                        while record.requests().len() == before {
                            sleep(Duration::from_millis(2)).await;
                        }
                        up.send_reset(code);
                        while record.resets().last() != Some(&code) {
                            sleep(Duration::from_millis(2)).await;
                        }
                        drop(response);
                    }
                }
                // The connection still works.
                assert_eq!(
                    client.get("/name", is_debug).await?.text,
                    if is_debug { "laptop" } else { "app" }
                );
            }
            Ok(())
        })?;
        assert_eq!((app.record.connections(), target.record.connections()), (1, 1));
        Ok(())
    });
}

#[test]
fn a_response_may_be_complete_before_its_request() {
    run("h2-early", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            for is_debug in [false, true] {
                let (response, mut up) = client.open(request("/early", is_debug), false).await?;
                let response = read_response(response).await?;
                assert_eq!(response.text, response.tag());
                // The server does not need the rest of the request (RFC 9113, section 8.1).
                let reason = poll_fn(|cx| up.poll_reset(cx)).await?;
                assert_eq!(reason, Reason::NO_ERROR);
            }
            Ok(())
        })
    });
}

#[test]
fn interim_responses_arrive() {
    run("h2-interim", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            for is_debug in [false, true] {
                let (mut response, _) = client.open(request("/hints", is_debug), true).await?;
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
fn heads_arrive_unchanged() {
    run("h2-heads", |f| {
        let (app, target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        block_on(async {
            let mut client = f.connect().await?;
            for is_debug in [false, true] {
                let user = if is_debug { "debug" } else { "other" };
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
                let (response, _) = client.open(request.clone(), true).await?;
                read_response(response).await?;
                let record = if is_debug { &target.record } else { &app.record };
                let record = record.requests().pop().context("no request")?;
                assert_eq!(record.method(), request.method());
                assert_eq!(record.uri(), request.uri());
                assert_eq!(record.headers(), request.headers());

                // Without `:authority`, as from an HTTP/1 client behind a proxy.
                let by_host =
                    Request::get("/name").version(Version::HTTP_11).header("host", "by.host");
                let (response, _) =
                    client.open(by_host.header("x-user", user).body(())?, true).await?;
                read_response(response).await?;
                let record = if is_debug { &target.record } else { &app.record };
                let record = record.requests().pop().context("no request")?;
                assert_eq!(
                    (record.uri().to_string(), &record.headers()["host"]),
                    ("/name".to_owned(), &"by.host".parse()?)
                );

                let connect = Request::connect("db:5432").header("x-user", user).body(())?;
                let (response, mut up) = client.open(connect, false).await?;
                up.send_data("through".into(), true)?;
                read_response(response).await?;
                let record = if is_debug { &target.record } else { &app.record };
                let record = record.requests().pop().context("no request")?;
                assert_eq!(
                    (record.method(), record.uri().to_string()),
                    (&Method::CONNECT, "db:5432".to_owned())
                );
            }
            Ok(())
        })
    });
}
