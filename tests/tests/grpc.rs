//! gRPC on a port whose rule looks at metadata: each call goes where it is wanted, by a library that many use.

#[path = "grpc/caller.rs"]
mod caller;
#[path = "grpc/talk.rs"]
mod talk;

use std::{future::Future, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures_util::{
    StreamExt as _,
    future::{join_all, try_join_all},
};
use interceptor_tests::SOON;
use rstest::rstest;
use testbed::{Daemon, Namespace, Topology, netns_test, workload};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_stream::{iter, wrappers::ReceiverStream};
use tonic::{Code, Status};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};

use self::{
    caller::{Caller, calling, endpoint},
    talk::{Server, Words, checksum, pattern},
};

const MIB: u32 = 1 << 20;

/// A pod with a gRPC service on port 8080, and a laptop with another one that has the calls with `x-user: debug`.
struct Street {
    pod: Namespace,
    laptop: Namespace,
    client: Namespace,
    daemon: Daemon,
}

fn street_test(title: &str, body: impl FnOnce(Street) -> Result<()>) {
    netns_test(title, |t: &Topology| {
        let (pod, laptop, client) = (t.pod("web")?, t.host("laptop")?, t.host("client")?);
        let rule =
            format!("8080 -> {}:3000 when request.headers['x-user'] == 'debug'", laptop.ip4());
        let daemon = Daemon::start(t, &workload(&pod, &rule), &[])?;
        daemon.wait_active("web")?;
        body(Street { pod, laptop, client, daemon })
    });
}

impl Street {
    fn app(&self) -> Result<Server> {
        Server::start(&self.pod, 8080, "app")
    }

    fn dev(&self) -> Result<Server> {
        Server::start(&self.laptop, 3000, "laptop")
    }

    /// Runs what the client does on one channel to the pod.
    fn calling<T: Send, F>(&self, body: impl FnOnce(Caller) -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        self.calling_port(8080, body)
    }

    fn calling_port<T: Send, F>(
        &self,
        port: u16,
        body: impl FnOnce(Caller) -> F + Send,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let endpoint = endpoint(self.pod.ip4(), port)?;
        calling(&self.client, async move { body(Caller::new(endpoint.connect().await?)).await })
    }
}

fn tag(is_debug: bool) -> &'static str {
    if is_debug { "laptop" } else { "app" }
}

// --- whose a call is ------------------------------------------------------------------------------------------------

#[test]
fn calls_of_all_kinds_on_one_channel_go_where_their_metadata_says() {
    street_test("grpc-kinds", |s| {
        let (app, dev) = (s.app()?, s.dev()?);
        s.calling(async |caller| {
            // Two conversations that go on while everything else is called.
            let mut chats = Vec::new();
            for is_debug in [false, true] {
                let (up, words) = mpsc::channel(1);
                chats.push((
                    tag(is_debug),
                    up,
                    caller.debug(is_debug).chat(ReceiverStream::new(words)).await?,
                ));
            }
            for n in 0..6 {
                let is_debug = n % 2 == 1;
                let caller = caller.debug(is_debug);
                let said = caller.say(Words::new("hello")).await?;
                assert_eq!(
                    said.metadata().get("server-tag").context("no metadata")?,
                    tag(is_debug)
                );
                assert_eq!(said.into_inner().text, tag(is_debug));

                let mut counted =
                    caller.count(Words { number: 20, size: 100, ..Words::default() }).await?;
                for number in 0..20 {
                    let words = counted.message().await?.context("too few")?;
                    assert_eq!((words.text.as_str(), words.number), (tag(is_debug), number));
                    assert_eq!(words.content, pattern(100));
                }
                assert_eq!(counted.message().await?, None);

                let parts =
                    (1..=10).map(|size| Words { content: pattern(size), ..Words::default() });
                let gathered = caller.gather(iter(parts)).await?;
                assert_eq!(
                    (gathered.text.as_str(), gathered.number, gathered.size),
                    (tag(is_debug), 10, 55)
                );

                for (tag, up, down) in &mut chats {
                    up.send(Words::new(&n.to_string())).await?;
                    let answer = down.message().await?.context("the end")?;
                    assert_eq!(answer.text, format!("{tag}: {n}"));
                }
            }
            for (_, up, mut down) in chats {
                drop(up);
                assert_eq!(down.message().await?, None);
            }
            Ok(())
        })?;
        assert_eq!((app.seen.connections(), dev.seen.connections()), (1, 1));
        assert_eq!((app.seen.calls().len(), dev.seen.calls().len()), (10, 10));
        assert_eq!((app.seen.abandoned(), dev.seen.abandoned()), (0, 0));
        Ok(())
    });
}

#[test]
fn many_calls_at_the_same_time_are_all_answered() {
    street_test("grpc-many", |s| {
        // Fewer at a time than are called.
        let app = Server::adapted(&s.pod, 8080, "app", |server| {
            server.max_concurrent_streams(Some(100))
        })?;
        let dev = s.dev()?;
        s.calling(async |caller| {
            let calls = (0..1000).map(|n: u32| {
                let is_debug = n.is_multiple_of(3);
                let caller = caller.debug(is_debug);
                async move {
                    let words = Words { content: pattern(n), size: n, ..Words::default() };
                    let answer = caller.say(words).await?.into_inner();
                    ensure!(answer.text == tag(is_debug), "{n} went to {}", answer.text);
                    ensure!(
                        answer.number == checksum(&pattern(n)) && answer.content == pattern(n),
                        "{n}"
                    );
                    Ok(())
                }
            });
            try_join_all(calls).await?;
            // And as many as are allowed stay open.
            let mut open = Vec::new();
            for n in 0..90 {
                let (up, words) = mpsc::channel(1);
                let down = caller.debug(n % 2 == 0).chat(ReceiverStream::new(words)).await?;
                open.push((n, up, down));
            }
            for (n, up, down) in open.iter_mut().rev() {
                up.send(Words::new("still there?")).await?;
                let answer = down.message().await?.context("the end")?;
                assert_eq!(answer.text, format!("{}: still there?", tag(*n % 2 == 0)));
            }
            Ok(())
        })?;
        assert_eq!((app.seen.connections(), dev.seen.connections()), (1, 1));
        Ok(())
    });
}

// --- how a call ends ------------------------------------------------------------------------------------------------

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

// --- large, and slow ------------------------------------------------------------------------------------------------

#[test]
fn large_messages_arrive_whole_beside_each_other() {
    street_test("grpc-large", |s| {
        let (_app, _dev) = (s.app()?, s.dev()?);
        s.calling(async |caller| {
            const SIZE: u32 = 6 * MIB + 4321;
            let calls = [false, true].map(|is_debug| {
                let caller = caller.debug(is_debug);
                async move {
                    let words = Words { content: pattern(SIZE), size: SIZE, ..Words::default() };
                    let sum = checksum(&words.content);
                    let parts =
                        iter((0..10).map(|_| Words { content: pattern(MIB), ..Words::default() }));
                    let (said, gathered, counted) = tokio::try_join!(
                        caller.say(words),
                        caller.gather(parts),
                        caller.count(Words { number: 10, size: MIB, ..Words::default() }),
                    )?;
                    let said = said.into_inner();
                    ensure!(
                        said.text == tag(is_debug) && said.number == sum,
                        "{} {}",
                        said.text,
                        said.number
                    );
                    ensure!(
                        said.content == pattern(SIZE),
                        "{} bytes came back",
                        said.content.len()
                    );
                    ensure!((gathered.number, gathered.size) == (10, 10 * MIB), "{gathered:?}");
                    let messages =
                        counted.map(|words| words.is_ok_and(|words| words.content == pattern(MIB)));
                    ensure!(messages.collect::<Vec<_>>().await == [true; 10]);
                    Ok(())
                }
            });
            try_join_all(calls).await?;
            Ok(())
        })
    });
}

/// Neither a caller nor a server who does not read is sent more than there is room for, and nobody else waits for him.
#[test]
fn who_does_not_read_stops_who_writes_to_him_and_nobody_else() {
    street_test("grpc-slow", |s| {
        let (app, dev) = (s.app()?, s.dev()?);
        s.calling(async |caller| {
            const ALL: u32 = 200;
            caller.say(Words::new("hello")).await?;
            let before = s.daemon.rss_kib()?;
            let (mut unread, mut unwritten) = (Vec::new(), Vec::new());
            for is_debug in [false, true] {
                let caller = caller.debug(is_debug);
                let mut counted =
                    caller.count(Words { number: ALL, size: MIB, ..Words::default() }).await?;
                counted.message().await?.context("nothing")?;
                unread.push(counted);

                let (up, words) = mpsc::channel(1);
                up.send(Words::new("hang")).await?;
                tokio::spawn(async move { caller.gather(ReceiverStream::new(words)).await });
                let writing = tokio::spawn(async move {
                    let mut sent = 0;
                    let words = Words { content: pattern(MIB), ..Words::default() };
                    while up.send_timeout(words.clone(), Duration::from_millis(500)).await.is_ok() {
                        sent += 1;
                    }
                    (sent, up)
                });
                unwritten.push(writing);
            }
            for writing in unwritten {
                let (sent, _up) = writing.await?;
                ensure!(sent < 20, "{sent} MiB were sent to somebody who does not read");
            }
            let started = Instant::now();
            for n in 0..20 {
                let answer =
                    caller.debug(n % 2 == 0).say(Words { size: MIB, ..Words::default() }).await?;
                assert_eq!(answer.into_inner().content, pattern(MIB));
            }
            ensure!(started.elapsed() < SOON, "others waited: {:?}", started.elapsed());
            for (who, seen) in [("app", &app.seen), ("laptop", &dev.seen)] {
                let counted = seen.counted();
                ensure!(counted < 20, "the {who} sent {counted} MiB to somebody who does not read");
            }
            let grown = s.daemon.rss_kib()?.saturating_sub(before);
            ensure!(grown < 24 << 10, "{grown} KiB");
            // And all of it arrives when it is wanted.
            for counted in &mut unread {
                for number in 1..ALL {
                    let words = counted.message().await?.context("too few")?;
                    ensure!(
                        words.number == number && words.content.len() == MIB as usize,
                        "{number}"
                    );
                }
                assert_eq!(counted.message().await?, None);
            }
            Ok(())
        })
    });
}

// --- health ---------------------------------------------------------------------------------------------------------

#[test]
fn health_is_that_of_whoever_is_asked() {
    street_test("grpc-health", |s| {
        let (app, dev) = (s.app()?, s.dev()?);
        s.calling_health(async |mut client, debug| {
            let request = || HealthCheckRequest::default();
            let mut watched = Vec::new();
            for caller in [&debug.debug(false), &debug.debug(true)] {
                let mut watch = client.watch(caller.request(request())).await?.into_inner();
                assert_eq!(
                    watch.message().await?.context("the end")?.status,
                    ServingStatus::Serving as i32
                );
                watched.push(watch);
            }
            dev.health.send(ServingStatus::NotServing)?;
            let told = watched[1].message().await?.context("the end")?;
            assert_eq!(told.status, ServingStatus::NotServing as i32);
            for (is_debug, status) in
                [(false, ServingStatus::Serving), (true, ServingStatus::NotServing)]
            {
                let caller = debug.debug(is_debug);
                let health = client.check(caller.request(request())).await?.into_inner();
                assert_eq!(health.status, status as i32);
            }
            app.health.send(ServingStatus::NotServing)?;
            let told = watched[0].message().await?.context("the end")?;
            assert_eq!(told.status, ServingStatus::NotServing as i32);
            Ok(())
        })
    });
}

// --- ends -----------------------------------------------------------------------------------------------------------

#[test]
fn a_target_that_dies_takes_its_own_calls_along_only() {
    street_test("grpc-dev-dies", |s| {
        let (app, dev) = (s.app()?, s.dev()?);
        s.calling(async |caller| {
            let (up, words) = mpsc::channel(1);
            let mut chat = caller.chat(ReceiverStream::new(words)).await?;
            let debug = caller.debug(true);
            let mut counted =
                debug.count(Words { text: "hang".into(), number: 1, ..Words::default() }).await?;
            counted.message().await?.context("nothing")?;
            let calls = dev.seen.calls().len();
            let unanswered = tokio::spawn({
                let debug = debug.clone();
                async move { debug.say(Words::new("hang")).await }
            });
            until("the call", || dev.seen.calls().len() > calls).await?;
            dev.die();
            // What was said before it died stands; what it has looked at can't be called again by the library.
            let late = counted.message().await.err().context("no failure")?;
            let early = unanswered.await?.err().context("an answer")?;
            assert_eq!(
                (late.code(), early.code()),
                (Code::Internal, Code::Internal),
                "{late}\n{early}"
            );

            up.send(Words::new("still there?")).await?;
            assert_eq!(chat.message().await?.context("the end")?.text, "app: still there?");
            assert_eq!(
                debug.say(Words::new("hello")).await?.into_inner().text,
                "app",
                "nobody else is there"
            );
            let _dev = s.dev()?;
            assert_eq!(debug.say(Words::new("hello")).await?.into_inner().text, "laptop");
            up.send(Words::new("and now?")).await?;
            assert_eq!(chat.message().await?.context("the end")?.text, "app: and now?");
            Ok(())
        })?;
        assert_eq!(app.seen.connections(), 1);
        Ok(())
    });
}

/// The channel finds the app that is started afterwards, as channels do.
#[rstest]
#[case::and_nobody_else_is_called(false)]
#[case::while_a_target_is_called(true)]
fn an_app_that_dies_takes_its_own_calls_along_only(#[case] is_target_called: bool) {
    street_test("grpc-app-dies", |s| {
        let (app, _dev) = (s.app()?, s.dev()?);
        let direct = Server::start(&s.pod, 8081, "app")?;
        let dies = async |caller: &Caller, app: Server| {
            let mut counted =
                caller.count(Words { text: "hang".into(), number: 1, ..Words::default() }).await?;
            counted.message().await?.context("nothing")?;
            app.die();
            let status = counted.message().await.err().context("no failure")?;
            Ok::<_, anyhow::Error>((status.code(), status.message().to_owned()))
        };
        let without_us = s.calling_port(8081, async |caller| dies(&caller, direct).await)?;
        s.calling(async |caller| {
            let (up, words) = mpsc::channel(1);
            let mut chat = None;
            if is_target_called {
                chat = Some(caller.debug(true).chat(ReceiverStream::new(words)).await?);
            }
            let with_us = dies(&caller, app).await?;
            match &mut chat {
                None => assert_eq!(with_us, without_us),
                Some(chat) => {
                    assert_eq!(with_us.0, Code::Internal, "{}", with_us.1);
                    for _ in 0..3 {
                        up.send(Words::new("still there?")).await?;
                        let answer = chat.message().await?.context("the end")?;
                        assert_eq!(answer.text, "laptop: still there?");
                    }
                }
            }
            let _app = s.app()?;
            // As without us, a call that meets the end of a connection fails.
            let again = async || {
                caller
                    .say(Words::new("hello"))
                    .await
                    .is_ok_and(|said| said.into_inner().text == "app")
            };
            let deadline = Instant::now() + SOON;
            while !again().await {
                ensure!(Instant::now() < deadline, "the channel finds nobody any more");
            }
            if let Some(chat) = &mut chat {
                up.send(Words::new("and now?")).await?;
                assert_eq!(chat.message().await?.context("the end")?.text, "laptop: and now?");
            }
            Ok(())
        })
    });
}

/// Servers of gRPC behind balancers end their connections from time to time, and no call fails by it.
#[rstest]
#[case::the_app(false)]
#[case::the_target(true)]
fn a_server_that_limits_the_age_of_its_connections_fails_no_call(#[case] is_target: bool) {
    street_test("grpc-age", |s| {
        let aged = |netns, port, tag| {
            Server::adapted(netns, port, tag, |server| {
                server.max_connection_age(Duration::from_millis(200))
            })
        };
        let (app, dev) = if is_target {
            (s.app()?, aged(&s.laptop, 3000, "laptop")?)
        } else {
            (aged(&s.pod, 8080, "app")?, s.dev()?)
        };
        s.calling(async |caller| {
            let aged = if is_target { &dev.seen } else { &app.seen };
            let mut calls = 0;
            while aged.connections() < 4 {
                // Several at a time: some of them meet the end of a connection.
                let answers = join_all((0..8).map(|n| {
                    let caller = caller.debug(n % 2 == 0);
                    async move { caller.say(Words { size: 2000, ..Words::default() }).await }
                }));
                for (n, answer) in answers.await.into_iter().enumerate() {
                    let answer =
                        answer.with_context(|| format!("after {calls} calls"))?.into_inner();
                    assert_eq!(answer.text, tag(n % 2 == 0));
                    calls += 1;
                }
            }
            Ok(())
        })?;
        if is_target {
            assert_eq!(
                app.seen.connections(),
                1,
                "the end of a target's connection is none of the caller's"
            );
        }
        Ok(())
    });
}

// --- helpers --------------------------------------------------------------------------------------------------------

impl Street {
    fn calling_health<F>(
        &self,
        body: impl FnOnce(HealthClient<tonic::transport::Channel>, Caller) -> F + Send,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send,
    {
        let endpoint = endpoint(self.pod.ip4(), 8080)?;
        calling(&self.client, async move {
            let channel = endpoint.connect().await?;
            body(HealthClient::new(channel.clone()), Caller::new(channel)).await
        })
    }
}

/// Waits for something that another thread sees.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        ensure!(Instant::now() < deadline, "waited {SOON:?} for {what}, in vain");
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
