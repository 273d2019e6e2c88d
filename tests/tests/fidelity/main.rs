//! Every form of HTTP/1 passes a port with a condition byte for byte, however it is cut into
//! pieces.
//!
//! App and target together get exactly the client's requests, each whole and at its server. The
//! client gets exactly their responses, in order.

#![forbid(unsafe_code)]

mod conversation;
mod fixture;
mod strategies;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Result, anyhow, ensure};
use interceptor_tests::{TIMEOUT, WHEN_DEBUG, run};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use testbed::{Daemon, wait_until};

use self::{
    conversation::{Conversation, Cut, End, Exchange, Owner, Request, Text},
    fixture::PortFixture,
};

/// The number of ports. Conversations run on all of them at the same time, since they mostly pause.
const PORTS: u16 = 4;

/// The counts that the daemon should have.
#[derive(Debug, Default)]
struct ExpectedCounts {
    conversations: AtomicU64,
    app_requests: AtomicU64,
    target_requests: AtomicU64,
    tunnels: AtomicU64,
    unframeable: AtomicU64,
}

/// Runs `body` with all ports, and then compares the daemon's counters with the expected ones.
fn run_on_ports(body: impl FnOnce(&[PortFixture], &ExpectedCounts) -> Result<()>) {
    run(|f| {
        let ports =
            (0..PORTS).map(|number| PortFixture::new(&f, number)).collect::<Result<Vec<_>>>()?;
        let rules =
            (0..PORTS).map(|number| PortFixture::rule(&f, number, WHEN_DEBUG)).collect::<Vec<_>>();
        let daemon = f.daemon_with(&rules.join("; "), &[])?;
        let (expected, started) = (ExpectedCounts::default(), Instant::now());
        body(&ports, &expected)?;
        expected.check(&daemon)?;
        println!("{expected:?} in {:.1?}", started.elapsed());
        Ok(())
    });
}

// === impl ExpectedCounts ===

impl ExpectedCounts {
    /// Runs a conversation and counts it.
    fn run(&self, port: &PortFixture, conversation: &Conversation) -> Result<()> {
        port.run(conversation)?;
        let count = |counter: &AtomicU64, n| counter.fetch_add(n, Ordering::Relaxed);
        count(&self.conversations, 1);
        count(&self.app_requests, conversation.requests_of(Owner::App) as u64);
        count(&self.target_requests, conversation.requests_of(Owner::Target) as u64);
        count(&self.tunnels, u64::from(matches!(conversation.end, End::Switch(_))));
        count(&self.unframeable, u64::from(matches!(conversation.end, End::Unframeable(_))));
        Ok(())
    }

    /// Compares the daemon's counters. Without this check, a connection that wrongly became a pipe
    /// would pass unnoticed.
    fn check(&self, daemon: &Daemon) -> Result<()> {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // A request without the header makes the condition fail with an error.
        let expected = [
            (&["matched"][..], get(&self.target_requests)),
            (&["no_match", "error"], get(&self.app_requests)),
            (&["fell_back", "outside_share", "earlier_rule"], 0),
        ];
        wait_until("the daemon's count", TIMEOUT, || {
            let workload = daemon.workload("web")?;
            let rules = || workload["rules"].as_array().into_iter().flatten();
            for (decisions, expected) in expected {
                let counts =
                    rules().flat_map(|rule| decisions.iter().map(|name| &rule["decisions"][*name]));
                let counted: u64 = counts.filter_map(serde_json::Value::as_u64).sum();
                ensure!(
                    counted == expected,
                    "{decisions:?}: expected {expected}, counted {counted}: {workload}"
                );
            }
            let (mut tunnels, mut others) = (0, 0);
            for pipe in rules().flat_map(|rule| rule["piped"].as_array().into_iter().flatten()) {
                let count = pipe["count"].as_u64().unwrap_or_default();
                *if pipe["reason"] == "tunnel" { &mut tunnels } else { &mut others } += count;
            }
            let expected = (get(&self.tunnels), get(&self.unframeable));
            ensure!(
                (tunnels, others) == expected,
                "{tunnels} tunnels, {others} other pipes: {workload}"
            );
            Ok(())
        })
    }
}

/// `PROPTEST_CASES=10000` runs more conversations.
#[test]
fn any_conversation_passes_unchanged() {
    run_on_ports(|ports, expected| {
        let all = Config::default();
        let config = Config {
            cases: all.cases / u32::from(PORTS),
            max_shrink_time: 20_000,
            failure_persistence: None,
            ..all
        };
        thread::scope(|scope| {
            let runs = ports.iter().map(|port| {
                let config = config.clone();
                scope.spawn(move || {
                    TestRunner::new(config).run(&strategies::conversation(), |conversation| {
                        expected
                            .run(port, &conversation)
                            .map_err(|error| TestCaseError::fail(format!("{error:#}")))
                    })
                })
            });
            let runs = runs.collect::<Vec<_>>();
            runs.into_iter().try_for_each(|run| {
                run.join().expect("no panic").map_err(|error| anyhow!("{error}"))
            })
        })
    });
}

/// Small messages, each with its response.
const SMALL: &[(&str, &str, &str)] = &[
    ("GET / HTTP/1.1\r\nHost: web\r\n", "", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ("\r\nHEAD /x HTTP/1.1\r\nhost:web\r\n", "", "HTTP/1.1 404 \r\ncontent-length:  77 \r\n\r\n"),
    (
        "POST /a HTTP/1.1\r\nContent-Length: 5\r\n",
        "GET /",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    ),
    (
        "PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
        "5;a=\"b;c\"\r\nhello\r\n00A \r\n0\r\n\r\nGET /\r\n0;x\r\nDigest: abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
    ),
    (
        "GET /c HTTP/1.0\r\nConnection: keep-alive\r\n",
        "",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "GET /d HTTP/1.1\r\nIf-None-Match: x\r\n",
        "",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    ),
];

/// Each message is sent once for each position of one cut, for app and target in turns.
#[test]
fn small_messages_pass_unchanged_wherever_they_are_cut() {
    run_on_ports(|ports, expected| {
        let exchanges = SMALL.iter().flat_map(|(head, body, response)| {
            let longest =
                (head.len() + "x-user: debug\r\n\r\n".len() + body.len()).max(response.len());
            (1..longest).flat_map(move |at| {
                [(Owner::App, "x-user: other\r\n\r\n"), (Owner::Target, "x-user: debug\r\n\r\n")]
                    .map(|(owner, user)| {
                        let cut = vec![Cut { at, micros: 1_000 }];
                        Exchange {
                            owner,
                            request: Request {
                                head: format!("{head}{user}").into(),
                                body: Text::from(*body),
                                expects_continue: false,
                            },
                            interim: Text::default(),
                            response: Text::from(*response),
                            read_share: u8::MAX,
                            cuts: [cut.clone(), cut],
                        }
                    })
            })
        });
        let mut bursts = exchanges.map(|exchange| vec![exchange]).collect::<Vec<_>>();
        // The same messages again, each for the target right behind that for the app.
        let pairs = bursts.chunks_exact(2).map(<[_]>::concat).collect::<Vec<_>>();
        bursts.extend(pairs);
        let share = bursts.len().div_ceil(ports.len());
        thread::scope(|scope| {
            let runs = bursts.chunks(share).zip(ports).map(|(bursts, port)| {
                let conversation = Conversation { bursts: bursts.to_vec(), end: End::Client };
                scope.spawn(move || expected.run(port, &conversation))
            });
            let runs = runs.collect::<Vec<_>>();
            runs.into_iter().try_for_each(|run| run.join().expect("no panic"))
        })
    });
}
