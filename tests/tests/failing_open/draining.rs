//! The daemon ends by SIGTERM, and asks connections of bystanders to end before it does.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use interceptor_tests::{Fixture, HttpClient, HttpEchoServer, SECOND, TIMEOUT, WHEN_DEBUG, run};
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
    signal::Signal,
};
use testbed::{Daemon, Namespace, wait_until};

/// The app of the pod, on this port.
const PORT: u16 = 80;

/// A pod whose app speaks HTTP/1, and a rule for requests that no test sends.
struct Http<'t> {
    base: Fixture<'t>,
    app: HttpEchoServer,
}

/// Runs one test in an [`Http`] of its own.
fn run_http(body: impl FnOnce(Http<'_>) -> Result<()>) {
    run(|base| {
        let app = HttpEchoServer::start(&base.pod, (std::net::Ipv6Addr::UNSPECIFIED, PORT), "app")?;
        body(Http { base, app })
    });
}

// === impl Http ===

impl Http<'_> {
    fn daemon(&self, args: &[&str]) -> Result<Daemon> {
        let rule = format!("{PORT} -> {}:3000 {WHEN_DEBUG}", self.base.laptop.ip4());
        self.base.daemon_with(&rule, args)
    }

    fn connect(&self) -> Result<HttpClient> {
        HttpClient::connect(&self.base.client, (self.base.pod.ip4(), PORT))
    }

    fn tcp(&self) -> Result<TcpStream> {
        let to = (self.base.pod.ip4(), PORT);
        Ok(self.base.client.run(|| TcpStream::connect(to))?)
    }
}

/// Sends SIGTERM, and waits until the daemon asks its connections.
fn begin_to_end(daemon: &Daemon) -> Result<()> {
    daemon.signal(Signal::SIGTERM)?;
    daemon.wait_state("the daemon to end", |state| state.get("draining").is_some())?;
    Ok(())
}

/// The number of connections that the daemon still waits for, for this reason.
fn remaining(daemon: &Daemon, reason: &str) -> f64 {
    daemon.metric("interceptor_draining_connections", &[("reason", reason)])
}

#[test]
fn a_response_carries_the_end_of_its_connection() {
    run_http(|f| {
        let mut daemon = f.daemon(&[])?;
        let mut clients = Vec::new();
        for _ in 0..8 {
            let mut client = f.tcp()?;
            client.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")?;
            let mut first = [0; 4096];
            ensure!(client.read(&mut first)? > 0);
            clients.push(client);
        }
        begin_to_end(&daemon)?;
        // All at once: idle connections are closed a second later.
        for client in &mut clients {
            client.write_all(b"GET /chunked HTTP/1.1\r\nHost: web\r\n\r\n")?;
        }
        for client in &mut clients {
            let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
            let epoll = Epoll::new(EpollCreateFlags::empty())?;
            epoll.add(&*client, EpollEvent::new(events, 0))?;
            let mut ready = [EpollEvent::empty()];
            epoll.wait(&mut ready, 5_000_u16)?;
            // The first packet has both.
            ensure!(ready[0].events() == events, "{:?}", ready[0].events());
            let mut response = Vec::new();
            client.read_to_end(&mut response)?;
            let response = String::from_utf8_lossy(&response);
            ensure!(response.ends_with("\r\n0\r\nX-Trailer: t\r\n\r\n"), "{response}");
            ensure!(!response.to_lowercase().contains("connection: close"), "{response}");
        }
        drop(clients);
        ensure!(daemon.wait()?.success());
        Ok(())
    });
}

#[test]
fn idle_connections_are_closed_in_order_long_before_the_drain_timeout() {
    run_http(|f| {
        let mut daemon = f.daemon(&[])?;
        let mut client = f.connect()?;
        assert_eq!(client.get("/", &[])?.tag, "app");
        let mut silent = f.tcp()?;
        silent.set_read_timeout(Some(TIMEOUT))?;
        wait_until("the connections at the app", TIMEOUT, || f.app.service().open() == 2)?;
        let ending = Instant::now();
        daemon.signal(Signal::SIGTERM)?;
        assert_eq!(client.read_to_end()?, b"");
        assert_eq!(silent.read(&mut [0])?, 0);
        drop((client, silent));
        wait_until("the app to see their ends", TIMEOUT, || f.app.service().open() == 0)?;
        ensure!(daemon.wait()?.success());
        ensure!(ending.elapsed() < 8 * SECOND, "ended after {:?}", ending.elapsed());
        Ok(())
    });
}

#[test]
fn a_request_under_way_gets_its_response_before_the_end() {
    run_http(|f| {
        let mut daemon = f.daemon(&[])?;
        let mut client = f.connect()?;
        client.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 9\r\n\r\nhalf")?;
        wait_until("half a request at the app", TIMEOUT, || f.app.received().ends_with(b"half"))?;
        let mut head = f.connect()?;
        head.send("GET / HTTP/1.1\r\nHost: w")?;
        wait_until("both connections at the app", TIMEOUT, || f.app.service().open() == 2)?;
        begin_to_end(&daemon)?;
        // Until long after idle connections are closed.
        thread::sleep(2 * SECOND);
        daemon.wait_state("two requests to remain", |state| state["draining"]["request"] == 2)?;
        client.send(" more")?;
        assert_eq!(client.response(false)?.tag, "app");
        assert_eq!(client.read_to_end()?, b"");
        head.send("eb\r\n\r\n")?;
        assert_eq!(head.response(false)?.tag, "app");
        assert_eq!(head.read_to_end()?, b"");
        drop((client, head));
        ensure!(daemon.wait()?.success());
        Ok(())
    });
}

#[test]
fn what_outlasts_the_drain_timeout_is_counted_and_named() {
    run_http(|f| {
        let mut daemon = f.daemon(&["--drain-timeout", "8s"])?;
        let mut tunnel = f.connect()?;
        tunnel
            .send("GET /switch HTTP/1.1\r\nHost: w\r\nConnection: upgrade\r\nUpgrade: e\r\n\r\n")?;
        assert_eq!(tunnel.response(false)?.status, 101);
        let mut silence = f.connect()?;
        silence.send("GET /silence HTTP/1.1\r\nHost: w\r\n\r\n")?;
        wait_until("both requests at the app", TIMEOUT, || f.app.service().requests() == 2)?;
        let own = tunnel.local_addr()?;
        begin_to_end(&daemon)?;
        wait_until("both to remain", TIMEOUT, || {
            remaining(&daemon, "tunnel") == 1.0 && remaining(&daemon, "request") == 1.0
        })?;
        // A busy tunnel has no pause that would end it.
        let ended = loop {
            if tunnel.send("x").and_then(|()| tunnel.read_exact(1)).is_err() {
                break Instant::now();
            }
            thread::sleep(Duration::from_millis(20));
        };
        ensure!(daemon.wait()?.success());
        ensure!(ended.elapsed() < SECOND, "the tunnel ended early");
        let logs = daemon.logs();
        for word in [&*format!("client={own}"), "reason=\"tunnel\"", "tunnels=1", "requests=1"] {
            ensure!(logs.contains(word), "no {word}: {logs}");
        }
        Ok(())
    });
}

#[test]
fn a_pipe_ends_in_a_pause_shortly_before_the_drain_timeout() {
    run(|f| {
        let mut daemon = f.daemon_with(&f.rule(), &["--drain-timeout", "8s"])?;
        let to = f.port();
        let mut quiet = f.client.run(|| TcpStream::connect(to))?;
        quiet.set_read_timeout(Some(TIMEOUT))?;
        quiet.write_all(b"who\n")?;
        ensure!(quiet.read(&mut [0; 4096])? > 0);
        let ending = Instant::now();
        begin_to_end(&daemon)?;
        wait_until("it to remain", TIMEOUT, || remaining(&daemon, "other") == 1.0)?;
        assert_eq!(quiet.read(&mut [0])?, 0);
        let took = ending.elapsed();
        ensure!(took > 5 * SECOND && took < 8 * SECOND, "closed after {took:?}");
        drop(quiet);
        ensure!(daemon.wait()?.success());
        Ok(())
    });
}

/// A client that does not use a connection that was closed while it was idle, and repeats a request
/// that crossed the end.
struct Repeating<'n> {
    netns: &'n Namespace,
    to: (std::net::Ipv4Addr, u16),
    open: Option<HttpClient>,
    repeated: usize,
}

impl Repeating<'_> {
    fn call(&mut self) -> Result<()> {
        if let Some(mut client) = self.open.take()
            && !client.is_closed()?
        {
            match client.get("/", &[]) {
                Ok(_) => {
                    self.open = Some(client);
                    return Ok(());
                }
                Err(error) if has_no_response(&error) => self.repeated += 1,
                Err(error) => return Err(error),
            }
        }
        let mut client = HttpClient::connect(self.netns, self.to)?;
        client.get("/", &[])?;
        self.open = Some(client);
        Ok(())
    }
}

/// Whether the connection ended before the first byte of the response.
fn has_no_response(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    let is_reset = matches!(kind, Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe));
    is_reset || error.to_string().contains("the connection ended without a response")
}

#[test]
fn an_upgrade_costs_a_client_that_repeats_no_call() {
    run_http(|f| {
        let to = (f.base.pod.ip4(), PORT);
        let until = Instant::now() + 12 * SECOND;
        let client = |pause: Duration| {
            let netns = &f.base.client;
            move || -> Result<(usize, usize)> {
                let mut client = Repeating { netns, to, open: None, repeated: 0 };
                let mut calls = 0;
                while Instant::now() < until {
                    client.call()?;
                    calls += 1;
                    thread::sleep(pause);
                }
                Ok((calls, client.repeated))
            }
        };
        thread::scope(|scope| {
            let pauses = [0, 1, 5, 50, 300, 3_000].map(Duration::from_millis);
            let clients = pauses.map(|pause| (pause, scope.spawn(client(pause))));
            for _ in 0..2 {
                let mut daemon = f.daemon(&["--drain-timeout", "3s"])?;
                thread::sleep(SECOND);
                begin_to_end(&daemon)?;
                ensure!(daemon.wait()?.success());
            }
            for (pause, client) in clients {
                let (calls, repeated) = client.join().expect("no panic")?;
                ensure!(calls > 1, "{calls} calls with pauses of {pause:?}");
                // Busy clients get the end with a response, before they send the next request.
                let is_busy = pause < Duration::from_millis(100);
                let max = if is_busy { 0 } else { 1 };
                ensure!(repeated <= max, "{repeated} repeated with pauses of {pause:?}");
            }
            Ok(())
        })
    });
}
