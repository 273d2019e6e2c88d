//! Programs that people run, on both ends of stolen connections. Nobody listens in the pod itself, unless a test says
//! so: what is answered there was answered through the relay.

#[path = "real_software/software.rs"]
mod software;

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rstest::rstest;
use testbed::{
    Connection, Daemon, Namespace, Process, Question, nginx, send, wait_until, workload,
};

use self::software::{
    Street, folder, output, server, software_test, software_test_if_there, somebody, text, tool,
    unprivileged,
};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn wrk_finds_no_error_in_nginx() {
    software_test("wrk", &["nginx", "wrk"], |t| {
        let street = Street::new(t, 8080)?;
        let _dev = nginx(&street.laptop, 8080, "laptop")?;
        let url = format!("http://{}:8080/", street.host());
        wrk(&street.client, &[&url])?;
        // And with a connection for each request.
        wrk(&street.client, &["-H", "Connection: close", &url])?;
        let (redirected, others) = street.connections()?;
        assert!(redirected > 100.0 && others == 0.0, "{redirected} and {others}");
        Ok(())
    });
}

#[test]
fn wrk_finds_no_error_when_the_app_has_to_serve() {
    software_test("wrk-app", &["nginx", "wrk"], |t| {
        let street = Street::new(t, 8080)?;
        let _app = nginx(&street.pod, 8080, "app")?;
        let url = format!("http://{}:8080/", street.host());
        wrk(&street.client, &["-H", "Connection: close", &url])?;
        let (redirected, others) = street.connections()?;
        assert!(redirected == 0.0 && others > 100.0, "{redirected} and {others}");
        Ok(())
    });
}

#[test]
fn nginx_sees_the_callers_that_it_serves_in_the_targets_place() {
    software_test("callers", &["nginx"], |t| {
        let street = Street::new(t, 8080)?;
        let _app = nginx(&street.pod, 8080, "app")?;
        callers_are_seen(&street, Question::Http)
    });
}

/// Servers in the languages that people use, each as it stands in their manuals.
#[rstest]
#[case::python("python3", "server.py", &["python3", "server.py"])]
#[case::node("node", "server.js", &["node", "server.js"])]
#[case::java("java", "Server.java", &["java", "Server.java"])]
#[case::go("go", "server.go", &["go", "run", "server.go"])]
fn servers_see_the_callers_that_they_serve_in_the_targets_place(
    #[case] program: &str,
    #[case] source: &str,
    #[case] start: &[&str],
) {
    software_test_if_there(program, &[program], |t| {
        let street = Street::new(t, 8080)?;
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_software/servers");
        let mut command = server(&street.pod, start[0]);
        command.args(&start[1..start.len() - 1]).arg(sources.join(source));
        let mut app = street.pod.spawn(&mut command)?;
        // The compilers among them take their time.
        app.wait_for_port(8080, Duration::from_secs(120))?;
        callers_are_seen(&street, Question::Http)
    });
}

/// The app in the pod says who calls it; nobody listens on the laptop.
fn callers_are_seen(street: &Street, question: Question) -> Result<()> {
    let (ip4, ip6): (SocketAddr, SocketAddr) =
        ((street.pod.ip4(), 8080).into(), (street.pod.ip6(), 8080).into());
    for to in [ip4, ip6, ip4] {
        let mut open = (0..20)
            .map(|_| Connection::open(&street.client, to, question))
            .collect::<Result<Vec<_>, _>>()?;
        for connection in &mut open {
            for _ in 0..2 {
                let answer = connection.ask()?;
                let caller = connection.stream().local_addr()?;
                ensure!(
                    answer.tag == "app" && answer.peer == Some(caller),
                    "{caller} is told {answer:?}"
                );
            }
        }
    }
    Ok(())
}

/// A stolen connection lives in the pod's namespace and has the number of the port: it must not be in the app's way.
#[test]
fn nginx_starts_and_restarts_while_connections_to_its_port_are_stolen() {
    software_test("restart", &["nginx"], |t| {
        let street = Street::new(t, 8080)?;
        let _dev = nginx(&street.laptop, 8080, "laptop")?;
        let mut stolen =
            Connection::open(&street.client, (street.pod.ip4(), 8080), Question::Http)?;
        assert_eq!(stolen.ask()?.tag, "laptop");

        drop(nginx(&street.pod, 8080, "app").context("start")?);
        let _app = nginx(&street.pod, 8080, "app").context("start again")?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        Ok(())
    });
}

/// A second of load.
fn wrk(client: &Namespace, args: &[&str]) -> Result<()> {
    let report = text(tool(client, "wrk").args(["-t", "2", "-c", "64", "-d", "1"]).args(args))?;
    ensure!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    let line = report.lines().find(|line| line.contains(" requests in ")).context("no requests")?;
    let requests: u64 = line.split_whitespace().next().context("no number")?.parse()?;
    ensure!(requests > 100, "{report}");
    Ok(())
}

#[test]
fn redis_answers_its_benchmark() {
    software_test("redis", &["redis-server", "redis-benchmark", "redis-cli"], |t| {
        let street = Street::new(t, 6379)?;
        let mut server = server(&street.laptop, "redis-server");
        server.args([
            "--port",
            "6379",
            "--protected-mode",
            "no",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let mut server = street.laptop.spawn(server.arg("--dir").arg(t.dir()))?;
        server.wait_for_port(6379, SOON)?;

        let host = street.host();
        let mut benchmark = tool(&street.client, "redis-benchmark");
        benchmark.args([
            "-h",
            &host,
            "-n",
            "4000",
            "-c",
            "50",
            "-t",
            "set,get,lpush,lrange_100",
            "--csv",
        ]);
        let report = text(&mut benchmark)?;
        for test in ["SET", "GET", "LPUSH", "LRANGE_100"] {
            let prefix = format!("\"{test}");
            assert!(
                report.lines().any(|line| line.starts_with(&prefix)),
                "{test} is missing: {report}"
            );
        }
        // Many small requests in one packet.
        benchmark.args(["-P", "100"]);
        text(&mut benchmark)?;

        let mut large = Vec::new();
        send(&mut large, 8 << 20)?;
        let file = t.dir().join("large");
        fs::write(&file, &large)?;
        let cli = || {
            let mut command = tool(&street.client, "redis-cli");
            command.args(["-h", &host]);
            command
        };
        output(cli().args(["-x", "set", "large"]).stdin(fs::File::open(&file)?))?;
        let mut back = output(cli().args(["get", "large"]))?;
        assert_eq!(back.pop(), Some(b'\n'));
        assert!(back == large, "{} bytes went in, others came out", large.len());
        Ok(())
    });
}

#[test]
fn postgresql_loses_no_transaction_of_pgbench() {
    software_test("postgresql", &["initdb", "postgres", "pg_isready", "pgbench"], |t| {
        let street = Street::new(t, 5432)?;
        let data = folder(t, "data")?;
        let mut initdb = unprivileged(&street.laptop, "initdb");
        initdb.args(["--no-sync", "--auth", "trust", "--username", "dev", "--pgdata"]).arg(&data);
        output(&mut initdb)?;
        let mut access = fs::read_to_string(data.join("pg_hba.conf"))?;
        access.push_str("host all all all trust\n");
        fs::write(data.join("pg_hba.conf"), access)?;

        let mut server = unprivileged(&street.laptop, "postgres");
        server
            .args(["-c", "listen_addresses=*", "-c", "fsync=off", "-k"])
            .arg(&data)
            .arg("-D")
            .arg(&data);
        let mut server = street.laptop.spawn(&mut server)?;
        server.wait_for_port(5432, SOON)?;
        let host = street.host();
        let to = ["-h", &host, "-U", "dev", "postgres"];
        let [.., user, name, database] = to;
        wait_until("PostgreSQL to be ready", SOON, || {
            output(
                tool(&street.client, "pg_isready").args(["-h", &host, user, name, "-d", database]),
            )
        })?;

        output(tool(&street.client, "pgbench").args(["--initialize", "--quiet"]).args(to))?;
        let mut pgbench = tool(&street.client, "pgbench");
        let report = text(pgbench.args(["-c", "8", "-j", "2", "-t", "100"]).args(to))?;
        let done = report
            .lines()
            .find(|line| line.starts_with("number of transactions actually processed"));
        assert!(done.is_some_and(|line| line.ends_with(" 800/800")), "{report}");
        Ok(())
    });
}

#[test]
fn mariadb_greets_and_answers() {
    software_test("mariadb", &["mariadb-install-db", "mariadbd", "mariadb"], |t| {
        let street = Street::new(t, 3306)?;
        let mut server = mariadb(t.dir(), &street.laptop)?;
        // Its first start writes files.
        server.wait_for_port(3306, 6 * SOON)?;

        let host = street.host();
        let query = |sql: &str| {
            let mut command = tool(&street.client, "mariadb");
            let to =
                ["--no-defaults", "--protocol", "tcp", "-h", &host, "-P", "3306", "-u", "root"];
            text(command.args(to).args(["--batch", "--skip-column-names", "-e", sql, "mysql"]))
        };
        assert_eq!(query("SELECT 1")?, "1\n");
        // An answer of many packets.
        let rows = query("SELECT seq, REPEAT('x', 1000) FROM seq_1_to_4000")?;
        assert_eq!(rows.lines().count(), 4_000);
        assert!(
            rows.lines()
                .zip(1..)
                .all(|(row, number)| row == format!("{number}\t{}", "x".repeat(1_000))),
            "another answer than asked for",
        );
        Ok(())
    });
}

fn mariadb(dir: &std::path::Path, netns: &Namespace) -> Result<Process> {
    let data = dir.join("data");
    let mut install = tool(netns, "mariadb-install-db");
    install.args([
        "--no-defaults",
        "--user=root",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
    ]);
    output(install.arg(format!("--datadir={}", data.display())))?;
    let mut server = server(netns, "mariadbd");
    server.args([
        "--no-defaults",
        "--user=root",
        "--bind-address=*",
        "--port=3306",
        "--skip-name-resolve",
    ]);
    // Anybody may come in: this is not about rights.
    server.args([
        "--skip-grant-tables",
        "--innodb-fast-shutdown=2",
        "--innodb-flush-log-at-trx-commit=0",
    ]);
    server
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}/socket", dir.display()));
    server.arg(format!("--pid-file={}/mariadbd.pid", dir.display()));
    netns.spawn(&mut server)
}

#[test]
fn iperf3_sends_in_both_directions() {
    software_test("iperf3", &["iperf3"], |t| {
        let street = Street::new(t, 5201)?;
        for direction in [&[][..], &["-R"], &["-P", "4"], &["-R", "-P", "4"]] {
            // One for each: it is busy for a moment behind a test.
            let server = &mut server(&street.laptop, "iperf3");
            let mut server = street.laptop.spawn(server.args(["-s", "-p", "5201"]))?;
            server.wait_for_port(5201, SOON)?;
            let mut client = tool(&street.client, "iperf3");
            client.args(["-c", &street.host(), "-p", "5201", "-n", "256M", "-J"]).args(direction);
            let report: serde_json::Value = serde_json::from_slice(&output(&mut client)?)?;
            assert_eq!(report["error"], serde_json::Value::Null, "{direction:?}");
            // It stops to count when the sender has written all, however much of it is still on the way.
            let received = report["end"]["sum_received"]["bytes"].as_u64().context("no bytes")?;
            assert!(received > 128 << 20, "{direction:?}: {received} bytes arrived");
        }
        Ok(())
    });
}

#[test]
fn ssh_runs_a_command_and_scp_copies_a_file() {
    software_test("ssh", &["sshd", "ssh", "scp", "ssh-keygen"], |t| {
        const PORT: u16 = 2222;
        let street = Street::new(t, PORT)?;
        // As an ordinary user: it then lets in that one only, and needs no folder outside of its own.
        let dir = folder(t, "ssh")?;
        for name in ["host", "user"] {
            let mut keygen = unprivileged(&street.laptop, "ssh-keygen");
            output(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(name)))?;
        }
        let d = dir.display();
        let config = format!(
            "Port {PORT}\nListenAddress 0.0.0.0\nHostKey {d}/host\nPidFile none\nUsePAM no\nStrictModes no\n\
             AuthorizedKeysFile {d}/user.pub\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n",
        );
        fs::write(dir.join("config"), config)?;
        let host_key = fs::read_to_string(dir.join("host.pub"))?;
        fs::write(dir.join("known"), format!("[{}]:{PORT} {host_key}", street.host()))?;
        let mut sshd = unprivileged(&street.laptop, "sshd");
        let mut server =
            street.laptop.spawn(sshd.args(["-D", "-e", "-f"]).arg(dir.join("config")))?;
        server.wait_for_port(PORT, SOON)?;

        // The user owns the key, or ssh would refuse to read it.
        let client = |program| {
            let mut command = unprivileged(&street.client, program);
            command.args([
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=yes",
                "-i",
            ]);
            command.arg(dir.join("user")).arg("-o").arg(format!("UserKnownHostsFile={d}/known"));
            command
        };
        let to = format!("{}@{}", somebody(), street.host());
        let port = PORT.to_string();
        let said = text(client("ssh").args(["-p", &port, &to, "echo", "$SSH_CONNECTION"]))?;
        // Caller and its port, then who was called, in the eyes of the server.
        assert_eq!(
            said.split_whitespace().nth(2),
            Some(street.laptop.ip4().to_string().as_str()),
            "{said}"
        );

        let mut content = Vec::new();
        send(&mut content, 16 << 20)?;
        fs::write(dir.join("sent"), &content)?;
        let remote = |file: &str| format!("{to}:{d}/{file}");
        output(client("scp").args(["-P", &port]).arg(dir.join("sent")).arg(remote("there")))?;
        assert!(fs::read(dir.join("there"))? == content, "the copy differs");
        output(client("scp").args(["-P", &port]).arg(remote("there")).arg(dir.join("back")))?;
        assert!(fs::read(dir.join("back"))? == content, "the copy of the copy differs");
        Ok(())
    });
}

#[test]
fn nginx_reads_the_callers_address_from_proxy_v2() {
    software_test("proxy-v2", &["nginx"], |t| {
        let (pod, laptop, client) = (t.pod("web")?, t.host("laptop")?, t.host("client")?);
        let _dev = nginx_behind_proxy(&laptop)?;
        let (ip4, ip6) = (laptop.ip4(), laptop.ip6());
        // The family of the caller and that of the target have nothing to do with each other.
        let rules = format!(
            "8004 -> {ip4}:3004 with proxy-v2; 8006 -> [{ip6}]:3006 with proxy-v2; \
             8046 -> [{ip6}]:3004 with proxy-v2; 8064 -> {ip4}:3006 with proxy-v2",
        );
        let daemon = Daemon::start(t, &workload(&pod, &rules), &[])?;
        daemon.wait_active("web")?;
        for to in [
            SocketAddr::from((pod.ip4(), 8004)),
            (pod.ip6(), 8006).into(),
            (pod.ip4(), 8046).into(),
            (pod.ip6(), 8064).into(),
        ] {
            let mut connection = Connection::open(&client, to, Question::Http)?;
            // The header comes once; the second request has none.
            for _ in 0..2 {
                let answer = connection.ask().with_context(|| format!("call {to}"))?;
                assert_eq!(answer.tag, "laptop");
                assert_eq!(answer.peer, Some(connection.stream().local_addr()?), "{to}");
                assert_eq!(answer.local, Some(to));
            }
        }
        Ok(())
    });
}

/// On port 3004 it expects callers with IPv4, on 3006 with IPv6: addresses of the latter are written in brackets.
fn nginx_behind_proxy(netns: &Namespace) -> Result<Process> {
    let dir = netns.dir().join("nginx-proxy");
    fs::create_dir(&dir)?;
    let server = |port: u16, left: &str, right: &str| {
        format!(
            "server {{\n\
             listen {port} proxy_protocol;\n\
             listen [::]:{port} proxy_protocol;\n\
             return 200 \"laptop {left}$proxy_protocol_addr{right}:$proxy_protocol_port \
             {left}$proxy_protocol_server_addr{right}:$proxy_protocol_server_port\\n\";\n\
             }}\n"
        )
    };
    let config = format!(
        "daemon off;\nerror_log stderr;\npid {dir}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{}{}}}\n",
        server(3004, "", ""),
        server(3006, "[", "]"),
        dir = dir.display(),
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, config)?;
    let mut process = netns.spawn(
        netns.command("nginx").args(["-e", "stderr", "-p"]).arg(&dir).arg("-c").arg(&file),
    )?;
    process.wait_for_port(3006, SOON)?;
    Ok(process)
}
