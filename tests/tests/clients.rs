//! Clients that everybody runs, on a port with a condition: WebSocket, TLS, and more bytes than would fit anywhere.

#[path = "clients/pattern.rs"]
mod pattern;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "real_software/software.rs"]
mod software;

use std::{
    fs,
    io::{self, BufRead, BufReader, Read as _, Write as _},
    net::Ipv6Addr,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::PlainHead;
use rstest::rstest;
use testbed::{Daemon, Namespace, Process, TcpService, Topology, wait_until, workload};

use self::{
    pattern::Pattern,
    software::{output, server, software_test, text, tool},
};

const PORT: u16 = 8080;

/// The value of `X-User` by which each of them is called.
const USERS: [(&str, &str); 2] = [("someone", "app"), ("debug", "laptop")];

/// A pod and a laptop; those who say that they are `debug` get the laptop.
struct Street {
    pod: Namespace,
    laptop: Namespace,
    client: Namespace,
}

// === impl Street ===

impl Street {
    fn new(t: &Topology) -> Result<Self> {
        Ok(Self { pod: t.pod("web")?, laptop: t.host("laptop")?, client: t.host("client")? })
    }

    fn daemon(&self, t: &Topology) -> Result<Daemon> {
        let rule = format!(
            "{PORT} -> {}:{PORT} when request.headers['x-user'] == 'debug'",
            self.laptop.ip4()
        );
        let daemon = Daemon::start(t, &workload(&self.pod, &rule), &[])?;
        daemon.wait_active("web")?;
        Ok(daemon)
    }

    fn curl(&self, user: &str, args: &[&str]) -> Command {
        let mut command = tool(&self.client, "curl");
        command.args(["-sS", "--http1.1", "-H", &format!("X-User: {user}")]).args(args);
        command
    }

    /// Where `user` calls, and where his call would end.
    fn url(&self, path: &str) -> String {
        format!("http://{}:{PORT}{path}", self.pod.ip4())
    }
}

// --- WebSocket ------------------------------------------------------------------------------------------------------

/// Debian's own, which has the library.
const PYTHON: &str = "/usr/bin/python3";
const LIBRARY: &str = "/usr/lib/python3/dist-packages/websockets/__init__.py";

fn websocket(netns: &Namespace, program: &str) -> Command {
    let mut command = tool(netns, PYTHON);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(program));
    command
}

fn websocket_server(netns: &Namespace, tag: &str) -> Result<Process> {
    let mut server = netns.spawn(websocket(netns, "websocket_server.py").env("TAG", tag))?;
    server.wait_for_port(PORT, Duration::from_secs(10))?;
    Ok(server)
}

#[test]
fn websockets_lead_where_their_request_went() {
    software_test("websocket", &[PYTHON, LIBRARY], |t| {
        let street = Street::new(t)?;
        let _app = websocket_server(&street.pod, "app")?;
        let _dev = websocket_server(&street.laptop, "laptop")?;
        let daemon = street.daemon(t)?;
        let url = format!("ws://{}:{PORT}/", street.pod.ip4());
        // Both at once.
        thread::scope(|scope| {
            let talks = USERS.map(|(user, tag)| {
                let mut client = websocket(&street.client, "websocket_client.py");
                client.args([&url, user, tag]);
                scope.spawn(move || text(&mut client))
            });
            talks.into_iter().try_for_each(|talk| talk.join().expect("no panic").map(drop))
        })?;
        tunnels(&daemon, 4)
    });
}

#[test]
fn curl_is_upgraded_to_a_websocket() {
    software_test("curl-websocket", &["curl", PYTHON, LIBRARY], |t| {
        let street = Street::new(t)?;
        let _app = websocket_server(&street.pod, "app")?;
        let _dev = websocket_server(&street.laptop, "laptop")?;
        let fields = [
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ];
        let fields = fields.map(|field| ["-H", field]).concat();
        let ask = |user, server: &Namespace| {
            let url = format!("http://{}:{PORT}/hello", server.ip4());
            let args = [&["-i", "-N", "-H", "Host: web"][..], &fields, &[&*url]].concat();
            let answer = output(&mut street.curl(user, &args))?;
            let lines = answer.split_inclusive(|byte| *byte == b'\n');
            Ok::<_, anyhow::Error>(
                lines.filter(|line| !line.starts_with(b"Date:")).collect::<Vec<_>>().concat(),
            )
        };
        let directly = [ask("someone", &street.pod)?, ask("debug", &street.laptop)?];
        let daemon = street.daemon(t)?;
        for ((user, tag), directly) in USERS.into_iter().zip(directly) {
            let relayed = ask(user, &street.pod)?;
            assert_eq!(String::from_utf8_lossy(&relayed), String::from_utf8_lossy(&directly));
            ensure!(relayed.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
            // A frame of text, and one that says goodbye (RFC 6455, section 5.2).
            let frame = [&[0x81, tag.len() as u8], tag.as_bytes(), &[0x88, 2]].concat();
            ensure!(relayed.windows(frame.len()).any(|window| window == frame), "{relayed:?}");
        }
        tunnels(&daemon, 2)
    });
}

/// So many connections were tunnels, and none was in doubt.
fn tunnels(daemon: &Daemon, count: u64) -> Result<()> {
    wait_until("the daemon's count", Duration::from_secs(5), || {
        let workload = daemon.workload("web")?;
        let piped = workload["rules"][0]["piped"].as_array().cloned().unwrap_or_default();
        ensure!(
            piped.len() == 1 && piped[0]["reason"] == "tunnel" && piped[0]["count"] == count,
            "{workload}"
        );
        Ok(())
    })
}

// --- TLS ------------------------------------------------------------------------------------------------------------

/// Who changes one byte of TLS breaks it.
#[rstest]
#[case::name("connection.requested_server_name == 'debug.example'", [("shop.example", "app"), ("debug.example", "laptop")])]
#[case::hidden("request.headers['x-user'] == 'debug'", [("shop.example", "app"), ("debug.example", "app")])]
fn curl_speaks_tls_to_whom_it_names(#[case] condition: &str, #[case] expected: [(&str, &str); 2]) {
    software_test("tls", &["curl", "nginx", "openssl"], |t| {
        let street = Street::new(t)?;
        let (_app, _dev) = (tls_server(&street.pod, "app")?, tls_server(&street.laptop, "laptop")?);
        let rule = format!("{PORT} -> {}:{PORT} when {condition}", street.laptop.ip4());
        let daemon = Daemon::start(t, &workload(&street.pod, &rule), &[])?;
        daemon.wait_active("web")?;
        for (name, tag) in expected {
            let resolve = format!("{name}:{PORT}:{}", street.pod.ip4());
            let url = format!("https://{name}:{PORT}/large");
            for version in ["--http1.1", "--http2"] {
                let mut curl = street.curl(
                    "debug",
                    &["-k", version, "--tlsv1.3", "--resolve", &resolve, &url, &url],
                );
                let got = output(&mut curl)?;
                let file = fs::read(t.dir().join(format!("tls-{tag}/large")))?;
                ensure!(
                    got == [&*file, &*file].concat(),
                    "{name} got {} bytes, of {tag}?",
                    got.len()
                );
            }
        }
        Ok(())
    });
}

/// nginx with a certificate of its own.
fn tls_server(netns: &Namespace, tag: &str) -> Result<Process> {
    let dir = netns.dir().join(format!("tls-{tag}"));
    fs::create_dir(&dir)?;
    let mut large = format!("{tag}\n").into_bytes();
    Pattern::default().write(&mut large, 8 << 20)?;
    fs::write(dir.join("large"), large)?;
    let mut openssl = tool(netns, "openssl");
    openssl.args([
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
    ]);
    openssl.args([
        "-subj",
        "/CN=debug.example",
        "-days",
        "1",
        "-keyout",
        "key",
        "-out",
        "certificate",
    ]);
    output(openssl.current_dir(&dir))?;
    let config = format!(
        "daemon off;\nuser root;\nerror_log stderr;\npid {dir}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n\
         client_body_temp_path {dir}/body;\nproxy_temp_path {dir}/proxy;\nfastcgi_temp_path {dir}/fastcgi;\n\
         uwsgi_temp_path {dir}/uwsgi;\nscgi_temp_path {dir}/scgi;\nserver {{\nlisten {PORT} ssl http2;\n\
         ssl_protocols TLSv1.2 TLSv1.3;\nssl_certificate {dir}/certificate;\nssl_certificate_key {dir}/key;\nroot {dir};\n}}\n}}\n",
        dir = dir.display(),
    );
    fs::write(dir.join("config"), config)?;
    let mut nginx = server(netns, "nginx");
    nginx.args(["-e", "stderr", "-p"]).arg(&dir).arg("-c").arg(dir.join("config"));
    let mut process = netns.spawn(&mut nginx)?;
    process.wait_for_port(PORT, Duration::from_secs(10))?;
    Ok(process)
}

// --- a gibibyte -----------------------------------------------------------------------------------------------------

const GIBIBYTE: u64 = 1 << 30;

/// The daemon may have so much more memory meanwhile, in KiB.
const GROWTH: u64 = 4 << 10;

/// Answers GET with the pattern, and says of what it is sent whether that is the pattern.
fn gibibyte(netns: &Namespace, tag: &'static str) -> Result<TcpService> {
    TcpService::start(netns, (Ipv6Addr::UNSPECIFIED, PORT), move |mut stream, _| {
        let mut reader = BufReader::with_capacity(256 << 10, stream.try_clone()?);
        let Some(request) = PlainHead::read(&mut reader)? else { return Ok(()) };
        let head = format!("HTTP/1.1 200 OK\r\nX-Served-By: {tag}\r\nConnection: close\r\n");
        if !request.is_put {
            stream.write_all(format!("{head}Content-Length: {GIBIBYTE}\r\n\r\n").as_bytes())?;
            return Pattern::default().write(&mut stream, GIBIBYTE);
        }
        let mut pattern = Pattern::default();
        let found = match request.length {
            Some(length) => pattern.check((&mut reader).take(length)),
            None => chunks(&mut reader, &mut pattern),
        };
        let body = match found {
            Ok(()) => format!("{tag} {} bytes\n", pattern.at),
            Err(error) => format!("{tag}: {error}\n"),
        };
        stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    })
}

/// A chunked body as curl sends it, without extensions and trailers.
fn chunks(from: &mut impl BufRead, pattern: &mut Pattern) -> io::Result<()> {
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
#[case::developer(USERS[1])]
fn curl_downloads_a_gibibyte(#[case] (user, tag): (&'static str, &'static str)) {
    software_test("download", &["curl"], |t| {
        let street = Street::new(t)?;
        let (_app, _dev) = (gibibyte(&street.pod, "app")?, gibibyte(&street.laptop, "laptop")?);
        let daemon = street.daemon(t)?;
        let head = t.dir().join("head");
        let mut curl = street.curl(user, &["-D"]);
        curl.arg(&head).arg(street.url("/")).stdout(Stdio::piped());
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
#[case::developer(USERS[1], &["-H", "Transfer-Encoding:", "-H", "Content-Length: 1073741824"])]
fn curl_uploads_a_gibibyte(
    #[case] (user, tag): (&'static str, &'static str),
    #[case] framing: &[&str],
) {
    software_test("upload", &["curl"], |t| {
        let street = Street::new(t)?;
        let (_app, _dev) = (gibibyte(&street.pod, "app")?, gibibyte(&street.laptop, "laptop")?);
        let daemon = street.daemon(t)?;
        let answer = t.dir().join("answer");
        // Nobody here says that he may continue.
        let mut curl = street.curl(user, &["-T", "-", "-H", "Expect:", "-o"]);
        curl.arg(&answer).args(framing).arg(street.url("/")).stdin(Stdio::piped());
        watch(&daemon, &mut curl, |stdin, _| {
            let mut stdin = stdin.context("no input")?;
            Ok(Pattern::default().write(&mut stdin, GIBIBYTE)?)
        })?;
        assert_eq!(fs::read_to_string(answer)?, format!("{tag} {GIBIBYTE} bytes\n"));
        Ok(())
    });
}

/// Runs curl to its end, and looks after the daemon's memory meanwhile.
fn watch(
    daemon: &Daemon,
    curl: &mut Command,
    feed: impl FnOnce(Option<std::process::ChildStdin>, Option<std::process::ChildStdout>) -> Result<()>
    + Send,
) -> Result<()> {
    let (before, started) = (daemon.rss_kib()?, Instant::now());
    let mut child = curl.spawn().context("start curl")?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut most = before;
    let status = thread::scope(|scope| {
        let feeding = scope.spawn(move || feed(stdin, stdout));
        let status = wait_until("the end of curl", Duration::from_secs(35), || {
            most = most.max(daemon.rss_kib().unwrap_or(u64::MAX));
            child.try_wait().ok().flatten()
        });
        feeding.join().expect("no panic").and(status)
    })?;
    ensure!(status.success(), "curl: {status}");
    println!(
        "{:.1?}, the daemon grew from {before} KiB by {} KiB",
        started.elapsed(),
        most - before
    );
    ensure!(most - before <= GROWTH, "the daemon grew from {before} KiB to {most} KiB");
    Ok(())
}
