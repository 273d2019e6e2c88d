//! A thousand requests a second by HTTP/1 and HTTP/2 at once, while rules come and go, developers
//! freeze and die, and the daemon is upgraded.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{Fixture, TIMEOUT, WHEN_DEBUG, block_on, run};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use parking_lot::Mutex;
use testbed::{Daemon, Namespace, Process, nginx_with, wait_until};
use tokio::{runtime, time::sleep};

use crate::{
    duration,
    repeating::{Answered, Http1, Http2},
};

/// Clients of HTTP/1, each with a connection.
const HTTP1_CLIENTS: u64 = 16;
/// Connections of HTTP/2.
const HTTP2_CLIENTS: u64 = 4;
/// Requests at once on each of them.
const HTTP2_STREAMS: u64 = 4;
/// From one request of a client or stream to the next: 1,000 a second in all.
const INTERVAL: Duration = Duration::from_millis(32);
/// Requests of a connection, at least: some seconds. A client that kept its connection for ever
/// would stay with the app that it reached while no daemon ran.
const MINIMUM_REQUESTS: u64 = 100;
/// Clients of HTTP/1, and streams of HTTP/2, whose requests take up to a second each, so that
/// there is always a response in progress.
const SLOW: u64 = 4;
/// The path of those requests.
const SLOW_PATH: &str = "/slow";
/// Less than connections last, so that they meet the end of the daemon.
const DRAIN_TIMEOUT: &str = "2s";
/// What the machine has to do at least, or the test shows nothing. It may be busy.
const MINIMUM_RATE: f64 = 100.0;
/// Maximum number of failures that the report shows.
const SHOWN: usize = 8;

/// How often the daemon is upgraded.
const UPGRADES: u32 = 2;

/// What the bystanders saw.
#[derive(Default)]
struct Record {
    stop: AtomicBool,
    requests: BTreeMap<&'static str, AtomicU64>,
    repeated: AtomicU64,
    failures: Mutex<Vec<(Instant, String)>>,
}

/// Bystanders of both kinds. Each goes on after a failure.
struct Bystanders {
    record: Arc<Record>,
    started: Instant,
    threads: Vec<thread::JoinHandle<()>>,
}

/// nginx with HTTP/1 on one port and HTTP/2 on the next. It answers with its name and the path.
struct Server(Process);

// === impl Record ===

impl Record {
    fn new() -> Self {
        let requests = ["HTTP/1", "HTTP/2"].map(|kind| (kind, AtomicU64::new(0))).into();
        Self { requests, ..Self::default() }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn add(&self, kind: &'static str, answered: Result<Answered>) {
        self.requests[kind].fetch_add(1, Ordering::Relaxed);
        match answered {
            Ok((server, repeated)) => {
                self.repeated.fetch_add(repeated, Ordering::Relaxed);
                if server != "app" {
                    self.fail(format!("{kind}: {server} has answered a bystander"));
                }
            }
            Err(error) => self.fail(format!("{kind}: {error:#}")),
        }
    }

    fn fail(&self, what: String) {
        self.failures.lock().push((Instant::now(), what));
    }

    fn total(&self) -> u64 {
        self.requests.values().map(|number| number.load(Ordering::Relaxed)).sum()
    }
}

// === impl Bystanders ===

impl Bystanders {
    fn start(host: &Namespace, pod: &Namespace) -> Self {
        let record = Arc::new(Record::new());
        let http1 = (0..HTTP1_CLIENTS + SLOW).map(|number| {
            let record = Arc::clone(&record);
            let mut client = Http1::new(host, (pod.ip4(), 80), MINIMUM_REQUESTS + 5 * number);
            let path = if number < HTTP1_CLIENTS { "/bystander" } else { SLOW_PATH };
            thread::spawn(move || {
                thread::sleep(INTERVAL * u32::try_from(number).unwrap_or(0) / 16);
                let mut next = Instant::now();
                while !record.is_over() {
                    record.add("HTTP/1", client.get(path, false));
                    next = (next + INTERVAL).max(Instant::now());
                    thread::sleep(next - Instant::now());
                }
            })
        });
        let mut threads: Vec<_> = http1.collect();
        let clients = (0..=HTTP2_CLIENTS).map(|number| {
            let requests = HTTP2_STREAMS * (MINIMUM_REQUESTS + 20 * number);
            Arc::new(Http2::new(host, (pod.ip4(), 81), requests))
        });
        let (clients, record_of_all) = (clients.collect::<Vec<_>>(), Arc::clone(&record));
        threads.push(thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(streams(clients, record_of_all));
        }));
        Self { record, started: Instant::now(), threads }
    }

    /// Stops all of them.
    ///
    /// # Errors
    /// A request has failed, or there were too few.
    fn stop(mut self) -> Result<String> {
        let time = self.started.elapsed();
        self.join();
        let record = &self.record;
        let rate = record.total() as f64 / time.as_secs_f64();
        let failures = record.failures.lock();
        let shown = failures.iter().take(SHOWN);
        let shown: Vec<_> =
            shown.map(|(at, what)| format!("\n  at {:.1?}: {what}", *at - self.started)).collect();
        let report = format!(
            "{:?} requests in {time:.0?}, {rate:.0} a second, {} sent again; {} failed{}",
            record.requests,
            record.repeated.load(Ordering::Relaxed),
            failures.len(),
            shown.concat(),
        );
        ensure!(failures.is_empty(), "{report}");
        ensure!(rate >= MINIMUM_RATE, "too slow to show anything: {report}");
        Ok(report)
    }

    fn join(&mut self) {
        self.record.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.record.fail("a bystander panicked".into());
            }
        }
    }
}

impl Drop for Bystanders {
    /// Their namespaces end after them.
    fn drop(&mut self) {
        self.join();
    }
}

/// Makes the requests of all clients; those of the last one are slow.
async fn streams(clients: Vec<Arc<Http2>>, record: Arc<Record>) {
    let stream = |(client, path): (&Arc<Http2>, &'static str)| {
        let (client, record) = (Arc::clone(client), Arc::clone(&record));
        tokio::spawn(async move {
            let mut next = Instant::now();
            while !record.is_over() {
                record.add("HTTP/2", client.get(path, false).await);
                next = (next + INTERVAL).max(Instant::now());
                sleep(next - Instant::now()).await;
            }
        })
    };
    let (slow, usual) = clients.split_last().expect("some clients");
    let usual = usual.iter().flat_map(|client| (0..HTTP2_STREAMS).map(move |_| client));
    let slow = (0..SLOW).map(|_| (slow, SLOW_PATH));
    let all = usual.map(|client| (client, "/bystander")).chain(slow);
    for task in all.map(stream).collect::<Vec<_>>() {
        if let Err(error) = task.await {
            record.fail(format!("HTTP/2: {error}"));
        }
    }
}

// === impl Server ===

impl Server {
    fn start(host: &Namespace, first_port: u16, name: &str) -> Result<Self> {
        let http = format!(
            "keepalive_requests 1000000;
    server {{
        listen {first_port} backlog=4096;
        listen {} http2 backlog=4096;
        location / {{ return 200 \"{name} $request_uri\"; }}
        location {SLOW_PATH} {{ limit_rate 1k; return 200 \"{name} $request_uri{}\"; }}
    }}",
            first_port + 1,
            " ".repeat(1200),
        );
        nginx_with(host, &format!("nginx-{name}"), first_port, &http).map(Self)
    }

    /// A signal for all its processes.
    fn signal(&self, signal: Signal) -> Result<()> {
        killpg(Pid::from_raw(self.0.pid().cast_signed()), signal).context("signal a server")
    }
}

/// Ends the daemon and starts another one, as an update of a DaemonSet does.
fn upgrade(f: &Fixture<'_>, daemon: &mut Daemon, rules: &str) -> Result<()> {
    daemon.signal(Signal::SIGTERM)?;
    let status = daemon.wait()?;
    ensure!(status.success(), "{status}");
    *daemon = start(f, rules)?;
    Ok(())
}

fn start(f: &Fixture<'_>, rules: &str) -> Result<Daemon> {
    f.daemon_with(rules, &["--drain-timeout", DRAIN_TIMEOUT])
}

/// Makes a developer's request by each protocol at once, and returns the servers.
fn developer(f: &Fixture<'_>) -> Result<[String; 2]> {
    let (by_http1, by_http2) = thread::scope(|scope| {
        let by_http1 =
            scope.spawn(|| Http1::new(&f.client, (f.pod.ip4(), 80), 1).get("/developer", true));
        let client = Http2::new(&f.client, (f.pod.ip4(), 81), 1);
        let by_http2 = block_on(client.get("/developer", true));
        (by_http1.join().expect("no panic"), by_http2)
    });
    Ok([by_http1?.0, by_http2?.0])
}

/// Waits until developers' requests by both protocols are this server's.
fn wait_for(f: &Fixture<'_>, server: &str) -> Result<()> {
    wait_until(&format!("{server} to serve developers"), TIMEOUT, || {
        let servers = developer(f).map_err(|error| format!("{error:#}"))?;
        if servers.iter().all(|one| one == server) { Ok(()) } else { Err(servers.join(", ")) }
    })
}

/// Whether the daemon is upgraded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Daemons {
    One,
    Upgraded,
}

fn no_request_fails(daemons: Daemons) {
    run(|f| {
        let _app = Server::start(&f.pod, 80, "app")?;
        let rule = |condition: &str| {
            let laptop = f.laptop.ip4();
            format!("80 -> {laptop}:4000 {condition}; 81 -> {laptop}:4001 {condition}")
        };
        let mut daemon = start(&f, &rule(WHEN_DEBUG))?;
        let bystanders = Bystanders::start(&f.client, &f.pod);

        let started = Instant::now();
        let (mut rounds, mut upgrades) = (0, 0);
        // Requests that were sent again at each upgrade: connections passed through the daemon.
        let mut repeated = Vec::new();
        while started.elapsed() < duration() || rounds < 2 {
            rounds += 1;
            let laptop = Server::start(&f.laptop, 4000, "laptop")?;
            wait_for(&f, "laptop")?;
            // Two calls wait for a laptop that stands still, and fail when it dies.
            laptop.signal(Signal::SIGSTOP)?;
            thread::scope(|scope| -> Result<()> {
                let waiting = scope.spawn(|| developer(&f));
                thread::sleep(Duration::from_millis(300));
                daemon.rewrite_workloads(&f.without_rule())?;
                daemon.wait_state("no rule", |state| {
                    state["workloads"][0]["rules"].as_array().is_none_or(Vec::is_empty)
                })?;
                daemon.rewrite_workloads(&f.web(&rule("when request.path == '/other'")))?;
                daemon.wait_active("web")?;
                wait_for(&f, "app")?;
                laptop.signal(Signal::SIGKILL)?;
                waiting.join().map_err(|_| anyhow::anyhow!("a developer panicked")).map(drop)
            })?;
            drop(laptop);
            daemon.rewrite_workloads(&f.web(&rule(WHEN_DEBUG)))?;
            daemon.wait_active("web")?;
            wait_for(&f, "app")?;
            let due = duration() / (UPGRADES + 1) * (upgrades + 1);
            if daemons == Daemons::Upgraded && upgrades < UPGRADES && started.elapsed() >= due {
                let before = bystanders.record.repeated.load(Ordering::Relaxed);
                upgrade(&f, &mut daemon, &rule(WHEN_DEBUG))?;
                repeated.push(bystanders.record.repeated.load(Ordering::Relaxed) - before);
                upgrades += 1;
            }
        }
        let report = bystanders.stop().with_context(|| format!("{rounds} rounds"))?;
        ensure!(daemons == Daemons::One || upgrades == UPGRADES, "{upgrades} upgrades");
        ensure!(repeated.iter().all(|number| *number > 0), "no bystander met an upgrade: {report}");
        println!("{rounds} rounds, {upgrades} upgrades with {repeated:?} sent again: {report}");
        Ok(())
    });
}

#[test]
fn no_request_fails_while_rules_come_and_go_and_developers_freeze_and_die() {
    no_request_fails(Daemons::One);
}

#[test]
fn no_request_fails_when_the_daemon_is_upgraded_twice() {
    no_request_fails(Daemons::Upgraded);
}
