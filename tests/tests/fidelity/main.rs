//! Everything that HTTP/1 may look like passes a port with a condition byte for byte: the application and the laptop
//! together get exactly the caller's requests, each of them whole and on its side, and the caller exactly their
//! responses, in order; however all of it is cut.

mod conversation;
mod fixture;
mod strategies;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Result, anyhow, ensure};
use interceptor_tests::{TIMEOUT, run};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use testbed::{Daemon, wait_until};

use self::{
    conversation::{Conversation, Cut, End, Exchange, Owner, Request, Text},
    fixture::PortFixture,
};

const WHEN: &str = "when request.headers['x-user'] == 'debug'";

/// Conversations are played on so many ports at a time, since most of their time is pauses.
const PORTS: u16 = 4;

/// What the daemon should have counted.
#[derive(Debug, Default)]
struct ExpectedCounts {
    conversations: AtomicU64,
    apps: AtomicU64,
    laptops: AtomicU64,
    switched: AtomicU64,
    in_doubt: AtomicU64,
}

fn fixture(body: impl FnOnce(&[PortFixture], &ExpectedCounts) -> Result<()>) {
    run(|f| {
        let ports =
            (0..PORTS).map(|number| PortFixture::new(&f, number)).collect::<Result<Vec<_>>>()?;
        let rules =
            (0..PORTS).map(|number| PortFixture::rule(&f, number, WHEN)).collect::<Vec<_>>();
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
    fn run(&self, port: &PortFixture, conversation: &Conversation) -> Result<()> {
        port.run(conversation)?;
        let count = |counter: &AtomicU64, n| counter.fetch_add(n, Ordering::Relaxed);
        count(&self.conversations, 1);
        count(&self.apps, conversation.requests_of(Owner::App) as u64);
        count(&self.laptops, conversation.requests_of(Owner::Laptop) as u64);
        count(&self.switched, u64::from(matches!(conversation.end, End::Switch(_))));
        count(&self.in_doubt, u64::from(matches!(conversation.end, End::Doubt(_))));
        Ok(())
    }

    /// Nothing else was in doubt: a pipe would have passed it all the same.
    fn check(&self, daemon: &Daemon) -> Result<()> {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // A request without the header is an error to the condition.
        let expected = [
            (&["matched"][..], get(&self.laptops)),
            (&["no_match", "error"], get(&self.apps)),
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
                    "{decisions:?}: {counted} instead of {expected}: {workload}"
                );
            }
            let (mut tunnels, mut doubts) = (0, 0);
            for pipe in rules().flat_map(|rule| rule["piped"].as_array().into_iter().flatten()) {
                let count = pipe["count"].as_u64().unwrap_or_default();
                *if pipe["reason"] == "tunnel" { &mut tunnels } else { &mut doubts } += count;
            }
            let expected = (get(&self.switched), get(&self.in_doubt));
            ensure!(
                (tunnels, doubts) == expected,
                "{tunnels} tunnels, {doubts} in doubt: {workload}"
            );
            Ok(())
        })
    }
}

/// More of them, and others, with `PROPTEST_CASES=10000`.
#[test]
fn any_conversation_passes_as_it_was_said() {
    fixture(|ports, expected| {
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
                            .map_err(|wrong| TestCaseError::fail(format!("{wrong:#}")))
                    })
                })
            });
            let runs = runs.collect::<Vec<_>>();
            runs.into_iter().try_for_each(|run| {
                run.join().expect("no panic").map_err(|wrong| anyhow!("{wrong}"))
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

/// Each of them is said with one cut, in another place each time, by a caller whose requests take turns.
#[test]
fn small_messages_pass_whichever_byte_they_are_cut_at() {
    fixture(|ports, expected| {
        let exchanges = SMALL.iter().flat_map(|(head, body, response)| {
            let longest =
                (head.len() + "x-user: debug\r\n\r\n".len() + body.len()).max(response.len());
            (1..longest).flat_map(move |at| {
                [(Owner::App, "x-user: other\r\n\r\n"), (Owner::Laptop, "x-user: debug\r\n\r\n")]
                    .map(|(owner, mark)| {
                        let cut = vec![Cut { at, micros: 1_000 }];
                        Exchange {
                            owner,
                            request: Request {
                                head: format!("{head}{mark}").into(),
                                body: Text::from(*body),
                                waits: false,
                            },
                            interim: Text::default(),
                            response: Text::from(*response),
                            patience: u8::MAX,
                            cuts: [cut.clone(), cut],
                        }
                    })
            })
        });
        let mut bursts = exchanges.map(|exchange| vec![exchange]).collect::<Vec<_>>();
        // The same once more, the laptop's right behind the app's.
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
