//! A gibibyte in each direction, by curl.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read as _, Write as _},
    net::Ipv6Addr,
    process::{ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{RequestHead, software::software_test};
use rstest::rstest;
use testbed::{Daemon, Namespace, TcpService, wait_until};

use crate::{Fixture, PORT, USERS, pattern::Pattern};

const GIBIBYTE: u64 = 1 << 30;

/// Maximum growth of the daemon's memory meanwhile, in KiB.
const GROWTH: u64 = 4 << 10;

/// Starts a server that answers GET with the pattern. It answers PUT with the length of the body if
/// that is the pattern, or else with the first difference.
fn gibibyte(netns: &Namespace, tag: &'static str) -> Result<TcpService> {
    TcpService::start(netns, (Ipv6Addr::UNSPECIFIED, PORT), move |mut stream, _| {
        let mut reader = BufReader::with_capacity(256 << 10, stream.try_clone()?);
        let Some(request) = RequestHead::read(&mut reader)? else { return Ok(()) };
        let head = format!("HTTP/1.1 200 OK\r\nX-Served-By: {tag}\r\nConnection: close\r\n");
        if !request.is_put {
            stream.write_all(format!("{head}Content-Length: {GIBIBYTE}\r\n\r\n").as_bytes())?;
            return Pattern::default().write(&mut stream, GIBIBYTE);
        }
        let mut pattern = Pattern::default();
        let found = match request.length {
            Some(length) => pattern.check((&mut reader).take(length)),
            None => check_chunks(&mut reader, &mut pattern),
        };
        let body = match found {
            Ok(()) => format!("{tag} {} bytes\n", pattern.at),
            Err(error) => format!("{tag}: {error}\n"),
        };
        stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    })
}

/// Checks a chunked body as curl sends it, without extensions and trailers.
fn check_chunks(from: &mut impl BufRead, pattern: &mut Pattern) -> io::Result<()> {
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim_end(), 16)
            .map_err(|_| io::Error::other(format!("{line:?}")))?;
        pattern.check(from.take(size))?;
        from.read_exact(&mut [0; 2])?;
        if size == 0 {
            return Ok(());
        }
    }
}

#[rstest]
#[case::bystander(USERS[0])]
#[case::debug(USERS[1])]
fn curl_downloads_a_gibibyte(#[case] (user, tag): (&'static str, &'static str)) {
    software_test("download", &["curl"], |t| {
        let f = Fixture::new(t)?;
        let (_app, _target) =
            (gibibyte(&f.hosts.pod, "app")?, gibibyte(&f.hosts.laptop, "laptop")?);
        let daemon = f.daemon()?;
        let head = t.dir().join("head");
        let mut curl = f.curl(user, &["-D"]);
        curl.arg(&head).arg(f.url("/")).stdout(Stdio::piped());
        watch(&daemon, &mut curl, |_, stdout| {
            let mut pattern = Pattern::default();
            pattern.check(stdout.context("no output")?)?;
            ensure!(pattern.at == GIBIBYTE, "{} bytes", pattern.at);
            Ok(())
        })?;
        let head = fs::read_to_string(head)?;
        ensure!(head.contains(&format!("X-Served-By: {tag}\r\n")), "{head}");
        Ok(())
    });
}

#[rstest]
#[case::bystander(USERS[0], &[])]
#[case::debug(USERS[1], &["-H", "Transfer-Encoding:", "-H", "Content-Length: 1073741824"])]
fn curl_uploads_a_gibibyte(
    #[case] (user, tag): (&'static str, &'static str),
    #[case] framing: &[&str],
) {
    software_test("upload", &["curl"], |t| {
        let f = Fixture::new(t)?;
        let (_app, _target) =
            (gibibyte(&f.hosts.pod, "app")?, gibibyte(&f.hosts.laptop, "laptop")?);
        let daemon = f.daemon()?;
        let answer = t.dir().join("answer");
        // The server does not send 100 (Continue).
        let mut curl = f.curl(user, &["-T", "-", "-H", "Expect:", "-o"]);
        curl.arg(&answer).args(framing).arg(f.url("/")).stdin(Stdio::piped());
        watch(&daemon, &mut curl, |stdin, _| {
            let mut stdin = stdin.context("no input")?;
            Ok(Pattern::default().write(&mut stdin, GIBIBYTE)?)
        })?;
        assert_eq!(fs::read_to_string(answer)?, format!("{tag} {GIBIBYTE} bytes\n"));
        Ok(())
    });
}

/// Runs curl to its end, and checks the daemon's memory meanwhile.
fn watch(
    daemon: &Daemon,
    curl: &mut Command,
    feed: impl FnOnce(Option<ChildStdin>, Option<ChildStdout>) -> Result<()> + Send,
) -> Result<()> {
    let (before, started) = (daemon.rss_kib()?, Instant::now());
    let mut child = curl.spawn().context("start curl")?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut maximum = before;
    let status = thread::scope(|scope| {
        let feeding = scope.spawn(move || feed(stdin, stdout));
        let status = wait_until("the end of curl", Duration::from_secs(35), || {
            maximum = maximum.max(daemon.rss_kib().unwrap_or(u64::MAX));
            child.try_wait().ok().flatten()
        });
        feeding.join().expect("no panic").and(status)
    })?;
    ensure!(status.success(), "curl: {status}");
    println!(
        "{:.1?}, the daemon grew from {before} KiB by {} KiB",
        started.elapsed(),
        maximum - before
    );
    ensure!(maximum - before <= GROWTH, "the daemon grew from {before} KiB to {maximum} KiB");
    Ok(())
}
