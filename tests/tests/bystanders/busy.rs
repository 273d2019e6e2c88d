//! Bystanders that ask all the time, or keep idle connections, while rules and targets come and go.

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
use interceptor_tests::{Fixture, HttpClient, HttpEchoServer, TIMEOUT, run};
use testbed::{TcpService, wait_until};

use crate::{DEBUG, WHEN};

/// How long bystanders are watched; five minutes by `INTERCEPTOR_BYSTANDER_SECONDS=300`.
fn watch() -> Duration {
    let seconds =
        std::env::var("INTERCEPTOR_BYSTANDER_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(15))
}

/// What a rule leaves behind for connections on their way goes after three seconds: from then on memory does not grow.
const SETTLES: Duration = Duration::from_secs(5);

/// Bystanders who ask without a pause, each on one connection for all time.
struct Bystanders {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<Result<()>>>,
}

impl Bystanders {
    fn start(f: &Fixture<'_>, count: usize) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..count).map(|_| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            let (client, to) = (f.client.clone(), (f.pod.ip4(), 80));
            thread::spawn(move || {
                let mut caller = HttpClient::connect(&client, to)?;
                let mut number = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let target = format!("/{number}");
                    let answer = caller
                        .get(&target, &["x-user: somebody"])
                        .context("a bystander's request")?;
                    ensure!(answer.tag == "app" && answer.status == 200, "{answer:?}");
                    ensure!(
                        answer.body.starts_with(format!("GET {target} HTTP/1.1\r\n").as_bytes()),
                        "{answer:?}"
                    );
                    asked.fetch_add(1, Ordering::Relaxed);
                    number += 1;
                    thread::sleep(Duration::from_millis(4));
                }
                Ok(())
            })
        });
        let threads = threads.collect();
        Self { stop, asked, threads }
    }

    /// Ends them. Gives the number of requests, none of which failed.
    fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow::anyhow!("a bystander panicked"))??;
        }
        Ok(self.asked.load(Ordering::Relaxed))
    }
}

#[test]
fn nobody_notices_that_conditions_come_and_go_and_developers_connect_freeze_and_die() {
    run(|f| {
        const BYSTANDERS: usize = 8;
        let app = HttpEchoServer::start(&f.pod, (Ipv6Addr::UNSPECIFIED, 80), "app")?;
        let rule = |condition: &str| f.web(&format!("80 -> {}:4000 {condition}", f.laptop.ip4()));
        let daemon = f.daemon_with(&format!("80 -> {}:4000 {WHEN}", f.laptop.ip4()), &[])?;
        // Connections that pass through the daemon from their beginning.
        let bystanders = Bystanders::start(&f, BYSTANDERS);
        wait_until("them to ask", TIMEOUT, || bystanders.asked.load(Ordering::Relaxed) > 100)?;
        let files = daemon.open_files()?;

        let started = Instant::now();
        let (mut rounds, mut settled) = (0, None);
        while started.elapsed() < watch() {
            rounds += 1;
            if settled.is_none() && started.elapsed() > SETTLES {
                settled = Some((rounds, daemon.rss_kib()?));
            }
            let mut target =
                HttpEchoServer::start(&f.laptop, (Ipv6Addr::UNSPECIFIED, 4000), "laptop")?;
            let call = || HttpClient::connect(&f.client, (f.pod.ip4(), 80));
            let mut developer = call()?;
            ensure!(developer.get("/x", &[DEBUG])?.tag == "laptop", "round {rounds}");
            // One who never gets an answer, one who is cut off in the middle of one.
            let mut frozen = call()?;
            frozen.say(format!("GET /silence HTTP/1.1\r\nHost: web\r\n{DEBUG}\r\n\r\n"))?;
            let mut cut = call()?;
            cut.say(format!("GET /half HTTP/1.1\r\nHost: web\r\n{DEBUG}\r\n\r\n"))?;
            cut.rest()?;
            daemon.rewrite_workloads(&rule("when request.path == '/nobody'"))?;
            wait_until("the other condition", TIMEOUT, || {
                let tag = developer.get("/x", &[DEBUG])?.tag;
                ensure!(tag == "app", "{tag}");
                Ok(())
            })?;
            daemon.rewrite_workloads(&f.without_rule())?;
            wait_until("no condition", TIMEOUT, || {
                let workload = daemon.workload("web")?;
                ensure!(workload["rules"].as_array().is_none_or(Vec::is_empty), "{workload}");
                Ok(())
            })?;
            daemon.rewrite_workloads(&rule(WHEN))?;
            daemon.wait_active("web")?;
            target.stop_listening();
            target.service().close_connections();
            let mut late = call()?;
            ensure!(late.get("/x", &[DEBUG])?.tag == "app", "the app has it when nobody listens");
        }
        wait_until("the developers' connections to be gone", TIMEOUT, || {
            let now = daemon.open_files()?;
            ensure!(now <= files + 4, "{now} open files, {files} before");
            Ok(())
        })?;
        let asked = bystanders.stop()?;
        ensure!(rounds >= 2 && asked > 1_000, "{rounds} rounds, {asked} requests");
        let (before, memory) = settled.context("too short a time")?;
        let (rounds, grown) = (rounds - before, daemon.rss_kib()?.saturating_sub(memory));
        ensure!(grown < 1024, "the daemon grew by {grown} KiB in {rounds} rounds");
        // Each bystander has had one connection, and so has the app for him.
        let others = app.service().connections() - BYSTANDERS as u64;
        println!(
            "{asked} requests of bystanders in {rounds} rounds, none failed; {others} connections of developers"
        );
        Ok(())
    });
}

#[test]
fn idle_connections_cost_little_memory() {
    run(|f| {
        const CONNECTIONS: u64 = 2_000;
        let _app = TcpService::http(&f.pod, (Ipv6Addr::UNSPECIFIED, 80), "app")?;
        let daemon = f.daemon_with(&format!("80 -> {}:4000 {WHEN}", f.laptop.ip4()), &[])?;
        let ask = |count: u64| -> Result<Vec<TcpStream>> {
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
        // Pools and caches are filled by then.
        drop(ask(50)?);
        let before = daemon.rss_kib()?;
        let held = ask(CONNECTIONS)?;
        let each = (daemon.rss_kib()?.saturating_sub(before)) as f64 / held.len() as f64;
        println!("{each:.1} KiB for each of {} idle connections", held.len());
        ensure!(each <= 24.0, "{each:.1} KiB for each");
        Ok(())
    });
}
