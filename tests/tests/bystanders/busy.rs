//! Bystanders that send requests all the time, or keep idle connections, while rules and targets
//! come and go.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv6Addr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{
    DEBUG_HEADER, Fixture, HttpClient, HttpEchoServer, TIMEOUT, WHEN_DEBUG, run,
};
use testbed::{TcpService, wait_until};

use crate::duration;

/// After this time, memory must not grow any more. A removed rule keeps its state for three
/// seconds, for connections that are on their way.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// Threads that send requests all the time, each on a single connection.
struct Bystanders {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<Result<()>>>,
}

impl Bystanders {
    fn start(f: &Fixture<'_>, count: usize) -> Self {
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..count).map(|_| {
            let (stop, requests) = (Arc::clone(&stop), Arc::clone(&requests));
            let (host, to) = (f.client.clone(), (f.pod.ip4(), 80));
            thread::spawn(move || {
                let mut client = HttpClient::connect(&host, to)?;
                let mut number = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let target = format!("/{number}");
                    let response =
                        client.get(&target, &["x-user: other"]).context("a bystander's request")?;
                    ensure!(response.tag == "app" && response.status == 200, "{response:?}");
                    ensure!(
                        response.body.starts_with(format!("GET {target} HTTP/1.1\r\n").as_bytes()),
                        "{response:?}"
                    );
                    requests.fetch_add(1, Ordering::Relaxed);
                    number += 1;
                    thread::sleep(Duration::from_millis(4));
                }
                Ok(())
            })
        });
        let threads = threads.collect();
        Self { stop, requests, threads }
    }

    /// Stops the threads and returns the number of requests.
    ///
    /// # Errors
    /// If a request has failed.
    fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow::anyhow!("a bystander panicked"))??;
        }
        Ok(self.requests.load(Ordering::Relaxed))
    }
}

#[test]
fn bystanders_are_served_while_rules_change_and_targets_freeze_and_die() {
    run(|f| {
        const BYSTANDERS: usize = 8;
        let app = HttpEchoServer::start(&f.pod, (Ipv6Addr::UNSPECIFIED, 80), "app")?;
        let rule = |condition: &str| f.web(&format!("80 -> {}:4000 {condition}", f.laptop.ip4()));
        let daemon = f.daemon_with(&format!("80 -> {}:4000 {WHEN_DEBUG}", f.laptop.ip4()), &[])?;
        // These connections pass through the daemon from their start.
        let bystanders = Bystanders::start(&f, BYSTANDERS);
        wait_until("100 requests of bystanders", TIMEOUT, || {
            bystanders.requests.load(Ordering::Relaxed) > 100
        })?;
        let files = daemon.open_files()?;

        let started = Instant::now();
        let (mut rounds, mut settled) = (0, None);
        while started.elapsed() < duration() {
            rounds += 1;
            if settled.is_none() && started.elapsed() > SETTLED_AFTER {
                settled = Some((rounds, daemon.rss_kib()?));
            }
            let mut target =
                HttpEchoServer::start(&f.laptop, (Ipv6Addr::UNSPECIFIED, 4000), "laptop")?;
            let connect = || HttpClient::connect(&f.client, (f.pod.ip4(), 80));
            let mut client = connect()?;
            ensure!(client.get("/x", &[DEBUG_HEADER])?.tag == "laptop", "round {rounds}");
            // One client never gets a response, another one only half of it.
            let mut frozen = connect()?;
            frozen.send(format!("GET /silence HTTP/1.1\r\nHost: web\r\n{DEBUG_HEADER}\r\n\r\n"))?;
            let mut cut = connect()?;
            cut.send(format!("GET /half HTTP/1.1\r\nHost: web\r\n{DEBUG_HEADER}\r\n\r\n"))?;
            cut.read_to_end()?;
            daemon.rewrite_workloads(&rule("when request.path == '/other'"))?;
            wait_until("the other condition", TIMEOUT, || {
                let tag = client.get("/x", &[DEBUG_HEADER])?.tag;
                ensure!(tag == "app", "{tag}");
                Ok(())
            })?;
            daemon.rewrite_workloads(&f.without_rule())?;
            wait_until("no condition", TIMEOUT, || {
                let workload = daemon.workload("web")?;
                ensure!(workload["rules"].as_array().is_none_or(Vec::is_empty), "{workload}");
                Ok(())
            })?;
            daemon.rewrite_workloads(&rule(WHEN_DEBUG))?;
            daemon.wait_active("web")?;
            target.stop_listening();
            target.service().close_connections();
            let mut late = connect()?;
            ensure!(
                late.get("/x", &[DEBUG_HEADER])?.tag == "app",
                "the app does not serve in the target's place"
            );
        }
        wait_until("the end of the other clients' connections", TIMEOUT, || {
            let now = daemon.open_files()?;
            ensure!(now <= files + 4, "{now} open files, {files} before");
            Ok(())
        })?;
        let requests = bystanders.stop()?;
        ensure!(rounds >= 2 && requests > 1_000, "{rounds} rounds, {requests} requests");
        let (before, memory) = settled.context("the test was too short")?;
        let (rounds, grown) = (rounds - before, daemon.rss_kib()?.saturating_sub(memory));
        ensure!(grown < 1024, "the daemon grew by {grown} KiB in {rounds} rounds");
        // The app has one connection for each bystander.
        let others = app.service().connections() - BYSTANDERS as u64;
        println!(
            "{requests} requests of bystanders in {rounds} rounds, none failed; \
             {others} connections of other clients"
        );
        Ok(())
    });
}

#[test]
fn an_idle_connection_takes_at_most_24_kib() {
    run(|f| {
        const CONNECTIONS: u64 = 2_000;
        let _app = TcpService::http(&f.pod, (Ipv6Addr::UNSPECIFIED, 80), "app")?;
        let daemon = f.daemon_with(&format!("80 -> {}:4000 {WHEN_DEBUG}", f.laptop.ip4()), &[])?;
        let open = |count: u64| -> Result<Vec<TcpStream>> {
            (0..count)
                .map(|_| {
                    let to = (f.pod.ip4(), 80);
                    let mut stream = f.client.run(|| TcpStream::connect(to))?;
                    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nAccept: */*\r\n\r\n")?;
                    let mut status = String::new();
                    BufReader::new(stream.try_clone()?).read_line(&mut status)?;
                    ensure!(status == "HTTP/1.1 200 OK\r\n", "{status:?}");
                    Ok(stream)
                })
                .collect()
        };
        // The first connections fill pools and caches.
        drop(open(50)?);
        let before = daemon.rss_kib()?;
        let held = open(CONNECTIONS)?;
        let each = (daemon.rss_kib()?.saturating_sub(before)) as f64 / held.len() as f64;
        println!("{each:.1} KiB for each of {} idle connections", held.len());
        ensure!(each <= 24.0, "{each:.1} KiB for each");
        Ok(())
    });
}
