//! Everybody else on a port with a condition: their traffic passes through the daemon, and they must not notice.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv6Addr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{HttpCaller, HttpMirror, PlainHead, SOON, Scene, play};
use rstest::rstest;
use testbed::{Checksum, Namespace, TcpService, send, wait_until};

const WHEN: &str = "when request.headers['x-user'] == 'debug'";
const DEBUG: &str = "x-user: debug";

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
    fn start(s: &Scene<'_>, count: usize) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..count).map(|_| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            let (client, to) = (s.client.clone(), (s.pod.ip4(), 80));
            thread::spawn(move || {
                let mut caller = HttpCaller::connect(&client, to)?;
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
    play(|s| {
        const BYSTANDERS: usize = 8;
        let app = HttpMirror::start(&s.pod, (Ipv6Addr::UNSPECIFIED, 80), "app")?;
        let rule = |condition: &str| s.web(&format!("80 -> {}:4000 {condition}", s.laptop.ip4()));
        let daemon = s.daemon_with(&format!("80 -> {}:4000 {WHEN}", s.laptop.ip4()), &[])?;
        // Connections that pass through the daemon from their beginning.
        let bystanders = Bystanders::start(&s, BYSTANDERS);
        wait_until("them to ask", SOON, || bystanders.asked.load(Ordering::Relaxed) > 100)?;
        let files = daemon.open_files()?;

        let started = Instant::now();
        let (mut rounds, mut settled) = (0, None);
        while started.elapsed() < watch() {
            rounds += 1;
            if settled.is_none() && started.elapsed() > SETTLES {
                settled = Some((rounds, daemon.rss_kib()?));
            }
            let mut dev = HttpMirror::start(&s.laptop, (Ipv6Addr::UNSPECIFIED, 4000), "laptop")?;
            let call = || HttpCaller::connect(&s.client, (s.pod.ip4(), 80));
            let mut developer = call()?;
            ensure!(developer.get("/x", &[DEBUG])?.tag == "laptop", "round {rounds}");
            // One who never gets an answer, one who is cut off in the middle of one.
            let mut frozen = call()?;
            frozen.say(format!("GET /silence HTTP/1.1\r\nHost: web\r\n{DEBUG}\r\n\r\n"))?;
            let mut cut = call()?;
            cut.say(format!("GET /half HTTP/1.1\r\nHost: web\r\n{DEBUG}\r\n\r\n"))?;
            cut.rest()?;
            daemon.rewrite_workloads(&rule("when request.path == '/nobody'"))?;
            wait_until("the other condition", SOON, || {
                let tag = developer.get("/x", &[DEBUG])?.tag;
                ensure!(tag == "app", "{tag}");
                Ok(())
            })?;
            daemon.rewrite_workloads(&s.without_rule())?;
            wait_until("no condition", SOON, || {
                let workload = daemon.workload("web")?;
                ensure!(workload["rules"].as_array().is_none_or(Vec::is_empty), "{workload}");
                Ok(())
            })?;
            daemon.rewrite_workloads(&rule(WHEN))?;
            daemon.wait_active("web")?;
            dev.stop_listening();
            dev.service().hang_up();
            let mut late = call()?;
            ensure!(late.get("/x", &[DEBUG])?.tag == "app", "the app has it when nobody listens");
        }
        wait_until("the developers' connections to be gone", SOON, || {
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
    play(|s| {
        const CONNECTIONS: u64 = 2_000;
        let _app = TcpService::http(&s.pod, (Ipv6Addr::UNSPECIFIED, 80), "app")?;
        let daemon = s.daemon_with(&format!("80 -> {}:4000 {WHEN}", s.laptop.ip4()), &[])?;
        let ask = |count: u64| -> Result<Vec<TcpStream>> {
            (0..count)
                .map(|_| {
                    let to = (s.pod.ip4(), 80);
                    let mut stream = s.client.run(|| TcpStream::connect(to))?;
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

// --- large bodies ---------------------------------------------------------------------------------------------------

/// Answers PUT with the checksum of its body, and GET with a large body.
fn bulk_server(netns: &Namespace, port: u16, tag: &'static str) -> Result<TcpService> {
    TcpService::start(netns, (Ipv6Addr::UNSPECIFIED, port), move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(request) = PlainHead::read(&mut reader)? {
            if request.is_put {
                let mut sum = Checksum::default();
                let mut body = (&mut reader).take(request.length.unwrap_or(0));
                let mut buffer = vec![0; 64 << 10];
                while let n @ 1.. = body.read(&mut buffer)? {
                    sum.add(&buffer[..n]);
                }
                let text = sum.to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nX-Served-By: {tag}\r\nContent-Length: {}\r\n\r\n",
                    text.len()
                );
                stream.write_all((head + &text).as_bytes())?;
            } else {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nX-Served-By: {tag}\r\nContent-Length: {LARGE}\r\n\r\n"
                );
                stream.write_all(head.as_bytes())?;
                send(&mut stream, LARGE)?;
            }
        }
        Ok(())
    })
}

/// Reads the head of a response by `by`, and gives the length of its body.
fn head(answers: &mut impl std::io::BufRead, by: &str) -> Result<u64> {
    let (mut line, mut length, mut served_by) = (String::new(), 0, String::new());
    while line != "\r\n" {
        line.clear();
        ensure!(answers.read_line(&mut line)? > 0, "the connection ended");
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse()?;
        }
        if let Some(value) = line.strip_prefix("X-Served-By: ") {
            served_by = value.trim().to_owned();
        }
    }
    ensure!(served_by == by, "{served_by}");
    Ok(length)
}

/// Larger than all buffers on the way together.
const LARGE: u64 = 192 << 20;

#[rstest]
fn large_bodies_pass_both_ways_unchanged(#[values("app", "laptop")] by: &'static str) {
    play(|s| {
        let _app = bulk_server(&s.pod, 80, "app")?;
        let _dev = bulk_server(&s.laptop, 4000, "laptop")?;
        let daemon = s.daemon_with(&format!("80 -> {}:4000 {WHEN}", s.laptop.ip4()), &[])?;
        let to = (s.pod.ip4(), 80);
        let mut stream = s.client.run(|| TcpStream::connect(to))?;
        stream.set_read_timeout(Some(SOON))?;
        let header = if by == "app" { "a: b" } else { DEBUG };
        let mut answers = BufReader::new(stream.try_clone()?);
        stream.write_all(
            format!("PUT /x HTTP/1.1\r\nHost: web\r\n{header}\r\nContent-Length: {LARGE}\r\n\r\n")
                .as_bytes(),
        )?;
        let sent = send(&mut stream, LARGE)?;
        let length = head(&mut answers, by)?;
        ensure!(length == sent.to_string().len() as u64, "{length}");
        let mut told = vec![0; length as usize];
        answers.read_exact(&mut told)?;
        assert_eq!(String::from_utf8(told)?, sent.to_string());

        let memory = daemon.rss_kib()?;
        stream.write_all(format!("GET /x HTTP/1.1\r\nHost: web\r\n{header}\r\n\r\n").as_bytes())?;
        ensure!(head(&mut answers, by)? == LARGE);
        let mut received = Checksum::default();
        let mut buffer = vec![0; 64 << 10];
        while received.bytes < LARGE {
            let n = answers.read(&mut buffer)?;
            ensure!(n > 0, "ended after {received}");
            received.add(&buffer[..n]);
        }
        assert_eq!(received, sent, "both are the same bytes");
        let grown = daemon.rss_kib()?.saturating_sub(memory);
        ensure!(grown < 3 * 1024, "the daemon grew by {grown} KiB");
        Ok(())
    });
}

#[test]
fn a_caller_who_does_not_read_holds_the_app_back() {
    play(|s| {
        let _app = bulk_server(&s.pod, 80, "app")?;
        let daemon = s.daemon_with(&format!("80 -> {}:4000 {WHEN}", s.laptop.ip4()), &[])?;
        let to = (s.pod.ip4(), 80);
        let before = daemon.rss_kib()?;
        let mut deaf = s.client.run(|| TcpStream::connect(to))?;
        deaf.write_all(b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n")?;
        // Others are served meanwhile, and all of it arrives in the end.
        let mut other = s.client.run(|| TcpStream::connect(to))?;
        other.write_all(b"PUT /x HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nhello")?;
        other.read_exact(&mut [0; 12])?;
        let grown = daemon.rss_kib()?.saturating_sub(before);
        ensure!(grown < 3 * 1024, "the daemon grew by {grown} KiB");
        let mut received = 0;
        let mut buffer = vec![0; 64 << 10];
        while received < LARGE {
            let n = deaf.read(&mut buffer)? as u64;
            ensure!(n > 0, "ended after {received}");
            received += n;
        }
        Ok(())
    });
}

// --- TLS ------------------------------------------------------------------------------------------------------------

/// A ClientHello that asks for `name` (RFC 8446 section 4.1.2, RFC 6066 section 3).
fn client_hello(name: &str) -> Vec<u8> {
    fn with_length(bytes: usize, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u32).to_be_bytes();
        [&length[4 - bytes..], content].concat()
    }
    let host = [&[0][..], &with_length(2, name.as_bytes())].concat();
    let extension = [&[0, 0][..], &with_length(2, &with_length(2, &host))].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &with_length(1, &[]),
        &with_length(2, &[0x13, 0x01]),
        &with_length(1, &[0]),
        &with_length(2, &extension),
    ]
    .concat();
    let handshake = [&[1][..], &with_length(3, &body)].concat();
    [&[22, 3, 1][..], &with_length(2, &handshake)].concat()
}

#[rstest]
#[case::matching("connection.requested_server_name == 'debug.example'", "debug.example", "laptop")]
#[case::another("connection.requested_server_name == 'debug.example'", "shop.example", "app")]
#[case::requests_are_hidden("request.path == '/'", "debug.example", "app")]
#[case::either(
    "request.path == '/' || connection.requested_server_name.endsWith('.example')",
    "a.example",
    "laptop"
)]
fn tls_goes_by_the_name_that_it_asks_for(
    #[case] condition: &str,
    #[case] name: &str,
    #[case] expected: &str,
) {
    play(|s| {
        let hello = client_hello(name);
        let server = |netns: &Namespace, port: u16, tag: &'static str| {
            let length = hello.len();
            TcpService::start(netns, (Ipv6Addr::UNSPECIFIED, port), move |mut stream, _| {
                let mut said = vec![0; length];
                stream.read_exact(&mut said)?;
                stream.write_all(tag.as_bytes())?;
                stream.write_all(&said)
            })
        };
        let _app = server(&s.pod, 443, "app")?;
        let _dev = server(&s.laptop, 4443, "laptop")?;
        let _daemon =
            s.daemon_with(&format!("443 -> {}:4443 when {condition}", s.laptop.ip4()), &[])?;
        // However it arrives.
        for step in [1, 9, hello.len()] {
            let to = (s.pod.ip4(), 443);
            let mut stream = s.client.run(|| TcpStream::connect(to))?;
            stream.set_nodelay(true)?;
            for part in hello.chunks(step) {
                stream.write_all(part)?;
            }
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            assert_eq!(
                answer,
                [expected.as_bytes(), &hello].concat(),
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
        Ok(())
    });
}
