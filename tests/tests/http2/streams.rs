//! Requests, responses, trailers and resets pass a stream unchanged.

use std::{future::poll_fn, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use rstest::rstest;
use tokio::time::sleep;

use crate::{
    MIB, checksum,
    fixture::{answer, calling, head, run},
    server::{pattern, read_all},
};

#[test]
fn content_and_trailers_pass_both_ways() {
    run("h2-content", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
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
    run("h2-bidi", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
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
    run("h2-large", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            const SIZE: usize = 8 * MIB + 12_345;
            let call = f.call().await?;
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
    run("h2-reset", |f| {
        let (app, target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        let codes = [
            Reason::CANCEL,
            Reason::ENHANCE_YOUR_CALM,
            Reason::INTERNAL_ERROR,
            Reason::NO_ERROR,
            77.into(),
        ];
        calling(async {
            let mut call = f.call().await?;
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
                        let seen = if is_debug { &target.seen } else { &app.seen };
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
        assert_eq!((app.seen.connections(), target.seen.connections()), (1, 1));
        Ok(())
    });
}

#[test]
fn a_response_may_be_complete_before_its_request() {
    run("h2-early", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
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
    run("h2-interim", |f| {
        let (_app, _target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
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
    run("h2-heads", |f| {
        let (app, target, _daemon) = (f.app()?, f.target()?, f.daemon()?);
        calling(async {
            let mut call = f.call().await?;
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
                let seen = if is_debug { &target.seen } else { &app.seen };
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
                let seen = if is_debug { &target.seen } else { &app.seen };
                let seen = seen.requests().pop().context("no request")?;
                assert_eq!(
                    (seen.uri().to_string(), &seen.headers()["host"]),
                    ("/who".to_owned(), &"by.host".parse()?)
                );

                let connect = Request::connect("db:5432").header("x-user", user).body(())?;
                let (response, mut up) = call.open(connect, false).await?;
                up.send_data("through".into(), true)?;
                answer(response).await?;
                let seen = if is_debug { &target.seen } else { &app.seen };
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
